from __future__ import annotations

import os

import pytest

from nextitem_export import RepositoryError
from nextitem_export.repository import build_folder, check_place, next_version, place

MODELS = ["a", "b", "top"]


def build(folder, version: int, text: str = "same", models=MODELS):
    """A built bundle: per model a version folder, warm-up data and a configuration."""
    for model in models:
        (folder / model / str(version)).mkdir(parents=True)
        (folder / model / str(version) / "graph").write_text(f"{model} {version} {text}")
        (folder / model / "warmup").mkdir()
        (folder / model / "warmup" / "data").write_text(text)
        ensemble = model == models[-1]
        (folder / model / "config.pbtxt").write_text(f"nextitem.signature {version}" if ensemble else text)
    return folder


def placed(repository, folder, version, **changes):
    build(folder, version, **changes)
    check_place(repository, folder, MODELS, replace="text" in changes)
    place(repository, folder, MODELS, version)


@pytest.fixture
def repository(tmp_path):
    """A repository with version 1 of a bundle and another's model."""
    folder = tmp_path / "repository"
    (folder / "other" / "1").mkdir(parents=True)
    (folder / "other" / "1" / "graph").write_text("not ours")
    placed(folder, tmp_path / "first", 1)
    return folder


def test_versions_count_on_from_the_highest_of_any_model(tmp_path):
    assert next_version(tmp_path, MODELS) == 1
    (tmp_path / "b" / "4").mkdir(parents=True)
    (tmp_path / "top" / "2").mkdir(parents=True)
    (tmp_path / "a" / "warmup").mkdir(parents=True)
    (tmp_path / "stranger" / "9").mkdir(parents=True)
    assert next_version(tmp_path, MODELS) == 5


def test_a_new_bundle_takes_the_place_of_the_old_version(repository, tmp_path, shop):
    placed(repository, tmp_path / "second", 2)
    found = shop.snapshot(repository)
    assert found["a/2/graph"] == b"a 2 same"
    assert found["top/config.pbtxt"] == b"nextitem.signature 2"
    assert found["other/1/graph"] == b"not ours"
    assert not [name for name in found if "/1/" in name and not name.startswith("other")]


def test_the_ensemble_s_configuration_comes_after_everything_it_needs(repository, tmp_path, monkeypatch):
    build(tmp_path / "second", 2)
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(target), replace(source, target)))
    place(repository, tmp_path / "second", MODELS, 2)
    into = [str(target.relative_to(repository)) for target in moved if repository in target.parents]
    assert into.index("a/2") < into.index("a/config.pbtxt") < into.index("b/2") < into.index("top/2")
    assert into[-1] == "top/config.pbtxt"
    last = moved.index(repository / "top" / "config.pbtxt")
    assert len(moved[last + 1 :]) == len(MODELS)  # only then the old versions go


@pytest.mark.parametrize("case", ["first bundle", "new version", "replaced"])
@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_a_failure_at_any_move_leaves_the_repository_as_it_was(tmp_path, shop, monkeypatch, case, error):
    repository = tmp_path / "repository"
    repository.mkdir()
    version = 1
    if case != "first bundle":
        placed(repository, tmp_path / "first", 1)
        version = 2
    before = shop.snapshot(repository)
    replace = os.replace

    for failing in range(100):
        calls = iter(range(1000))

        def fail(source, target, failing=failing, calls=calls):
            if next(calls) == failing:
                raise error
            replace(source, target)

        built = build(tmp_path / f"try {failing}", version, "new" if case == "replaced" else "same")
        refused = None
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            try:
                place(repository, built, MODELS, version)
            except (RepositoryError, KeyboardInterrupt) as refusal:
                refused = refusal
        if refused is None:
            break
        assert shop.snapshot(repository) == before
        if isinstance(error, OSError):
            assert refused.__cause__ is error
            sentence = f"cannot place the bundle in {repository}: No space left on device; the repository is as it was"
            assert str(refused) == sentence
    assert failing >= (3 if case == "first bundle" else 18)
    assert shop.snapshot(repository) != before


def test_a_step_with_another_configuration_is_refused_unless_replaced(repository, tmp_path, shop):
    before = shop.snapshot(repository)
    built = build(tmp_path / "second", 2, "changed")
    with pytest.raises(RepositoryError) as caught:
        check_place(repository, built, MODELS, replace=False)
    assert "a is there with another configuration" in str(caught.value)
    assert "another --name, or with --replace" in str(caught.value)
    assert shop.snapshot(repository) == before
    check_place(repository, built, MODELS, replace=True)
    place(repository, built, MODELS, 2)
    assert (repository / "a" / "config.pbtxt").read_text() == "changed"
    assert (repository / "a" / "warmup" / "data").read_text() == "changed"


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("config", ['name: "top" platform: "onnxruntime_onnx"', None])
def test_what_is_no_bundle_is_never_replaced(repository, tmp_path, replace, config):
    (repository / "top" / "config.pbtxt").unlink()
    if config:
        (repository / "top" / "config.pbtxt").write_text(config)
    with pytest.raises(RepositoryError) as caught:
        check_place(repository, build(tmp_path / "second", 2), MODELS, replace=replace)
    assert f"{repository / 'top'} is there and is no model of a bundle" in str(caught.value)
    assert "another --name or remove it" in str(caught.value)


def test_a_bundle_is_built_beside_the_repository_and_nothing_is_left(tmp_path):
    repository = tmp_path / "new" / "repository"
    with build_folder(repository) as folder:
        assert folder.parent == repository.parent
        assert repository.is_dir()
        (folder / "file").write_text("x")
    assert list(repository.parent.iterdir()) == [repository]
    with pytest.raises(ZeroDivisionError), build_folder(repository):
        raise ZeroDivisionError
    assert list(repository.parent.iterdir()) == [repository]


def test_a_place_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RepositoryError) as caught, build_folder(tmp_path / "file" / "repository"):
        pass
    assert f"cannot write to {tmp_path / 'file' / 'repository'} and its parent folder" in str(caught.value)
    assert "Not a directory" in str(caught.value)


def test_a_repository_that_is_a_mount_is_refused(tmp_path, monkeypatch):
    repository = tmp_path / "repository"
    repository.mkdir()
    stat = type(repository).stat

    def of_another_device(self, **arguments):
        found = stat(self, **arguments)
        if self != repository:
            return found
        return os.stat_result([*found[:2], found.st_dev + 1, *found[3:]])

    monkeypatch.setattr(type(repository), "stat", of_another_device)
    with pytest.raises(RepositoryError) as caught, build_folder(repository):
        pass
    assert f"{repository} is a file system of its own" in str(caught.value)
    assert "give a folder inside the mount as --repository" in str(caught.value)
    assert list(tmp_path.iterdir()) == [repository]
