import sys

import pytest

from nextitem_training.config.registry import Registry
from nextitem_training.errors import ConfigError


@pytest.fixture
def registry():
    result = Registry("fruit")
    result.register("pear")(1)
    result.register("apple")(2)
    return result


def test_a_registry_gives_what_it_was_given_and_sorts_its_names(registry):
    assert registry.get("pear") == 1
    assert list(registry) == ["apple", "pear"]


def test_what_is_registered_stays_what_it_was(registry):
    @registry.register("plum")
    class Plum:
        pass

    assert registry.get("plum") is Plum


def test_a_name_is_registered_once(registry):
    with pytest.raises(ValueError, match="fruit 'pear' is registered already"):
        registry.register("pear")(3)


def test_a_miss_lists_the_known_names_and_the_nearest(registry):
    with pytest.raises(ConfigError, match=r"no fruit 'aple'. Did you mean 'apple'.*apple, pear"):
        registry.get("aple")


@pytest.fixture
def orchard(tmp_path, monkeypatch):
    """A package with a registry, and an entry in each of two files."""
    package = tmp_path / "orchard"
    package.mkdir()
    (package / "__init__.py").write_text("from orchard.kinds import FRUITS\n")
    (package / "kinds.py").write_text(
        "from nextitem_training.config.registry import Registry\nFRUITS = Registry('fruit', __package__)\n"
    )
    for name in ("pear", "apple"):
        (package / f"{name}.py").write_text(f"from orchard.kinds import FRUITS\nFRUITS.register('{name}')('{name}')\n")
    monkeypatch.syspath_prepend(tmp_path)
    from orchard import FRUITS

    yield FRUITS
    for name in [name for name in sys.modules if name.partition(".")[0] == "orchard"]:
        del sys.modules[name]


def test_every_file_of_its_package_is_found_at_the_first_look(orchard):
    assert "orchard.pear" not in sys.modules
    assert list(orchard) == ["apple", "pear"]
    assert orchard.get("pear") == "pear"


def test_an_entry_is_looked_for_in_the_file_of_its_name_first(orchard):
    assert orchard.get("pear") == "pear"
    assert "orchard.apple" not in sys.modules
    for name in ("kinds", "orchard.pear", "../pear", ""):
        with pytest.raises(ConfigError, match="Known are apple, pear"):
            orchard.get(name)
