from __future__ import annotations

import json

import pytest

from nextitem_bundle.errors import BundleError
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.signature import FORMAT_VERSION
from nextitem_bundle.versions import active_version, next_version, prune, versions_of

MODELS = ["a", "top"]


@pytest.fixture
def repository(tmp_path):
    """Versions 1 to 4 of a bundle, of which 2 answers, and another's model."""
    for version in range(1, 5):
        for model in MODELS:
            (tmp_path / model / str(version)).mkdir(parents=True)
        (tmp_path / "top" / "warmup" / str(version)).mkdir(parents=True)
        (tmp_path / "top" / str(version) / "bundle.json").write_text(
            json.dumps({"format_version": FORMAT_VERSION, "models": MODELS, "sha256": {}})
        )
    (tmp_path / "top" / "config.pbtxt").write_text("version_policy { specific { versions: 2 } }")
    (tmp_path / "other" / "9").mkdir(parents=True)
    return tmp_path


def test_versions_count_on_from_the_highest_of_any_model(tmp_path):
    assert next_version(tmp_path, ["a", "b", "top"]) == 1
    (tmp_path / "b" / "4").mkdir(parents=True)
    (tmp_path / "top" / "2").mkdir(parents=True)
    (tmp_path / "a" / "warmup").mkdir(parents=True)
    (tmp_path / "stranger" / "9").mkdir(parents=True)
    assert next_version(tmp_path, ["a", "b", "top"]) == 5


@pytest.mark.parametrize(
    "config", [None, "version_policy { all { } }", "versions: oh", "version_policy { specific { } }"]
)
def test_what_is_not_pinned_to_one_version_has_none_that_answers(repository, config):
    assert active_version(repository, "top") == 2
    (repository / "top" / "config.pbtxt").unlink()
    if config:
        (repository / "top" / "config.pbtxt").write_text(config)
    assert active_version(repository, "top") is None


@pytest.mark.parametrize(
    ("keep", "also", "left"),
    [(1, (), [2]), (2, (), [2, 4]), (3, (), [2, 3, 4]), (9, (), [1, 2, 3, 4]), (1, (1,), [1, 2]), (2, (3,), [2, 3])],
)
def test_the_version_that_answers_and_the_newest_others_are_kept(repository, keep, also, left):
    gone = prune(repository, "top", keep, also)
    assert gone == sorted({1, 2, 3, 4} - set(left))
    assert versions_of(repository, "top") == left
    for folder in (repository / "a", repository / "top", repository / "top" / "warmup"):
        assert sorted(int(path.name) for path in folder.iterdir() if path.name.isdigit()) == left
    assert (repository / "other" / "9").is_dir()


@pytest.mark.parametrize("text", ["", "{}", '{"models": []}', '{"models": ["b"], "sha256": {}}', '{"models": ["top"]}'])
def test_a_manifest_that_cannot_be_read_is_told(repository, text):
    (repository / "top" / "3" / "bundle.json").write_text(text)
    with pytest.raises(BundleError, match=r"top/3/bundle.json cannot be read as the manifest of 'top' .*again"):
        read_manifest(repository, "top", 3)
