import pytest

from nextitem_training.errors import ConfigError
from nextitem_training.registry import Registry


@pytest.fixture
def registry():
    result = Registry("fruit")
    result.register("pear", 1)
    result.register("apple", 2)
    return result


def test_a_registry_gives_what_it_was_given_and_sorts_its_names(registry):
    assert registry.get("pear") == 1
    assert list(registry) == ["apple", "pear"]


def test_a_name_is_registered_once(registry):
    with pytest.raises(ValueError, match="fruit 'pear' is registered already"):
        registry.register("pear", 3)


def test_a_miss_lists_the_known_names_and_the_nearest(registry):
    with pytest.raises(ConfigError, match=r"no fruit 'aple'. Did you mean 'apple'.*apple, pear"):
        registry.get("aple")
