from __future__ import annotations

import os

import pytest

from nextitem_bundle.errors import BundleError
from nextitem_bundle.manifest import Manifest
from nextitem_bundle.placing import build_folder, check_place, place

MODELS = ["a", "b", "top"]


def build(folder, version: int, text: str = "same", models=MODELS, outside: str = "x"):
    """A built bundle: per model a version folder, a configuration, and of the steps warm-up data."""
    for model in models:
        own = folder / model / str(version)
        own.mkdir(parents=True)
        (own / "graph").write_text(f"{model} {version} {text}")
        pinned = f'name: "{model}" version_policy {{ specific {{ versions: {version} }} }}'
        if model == models[-1]:
            Manifest(model, version, models, {}).write(folder)
            pinned += f' input {{ name: "{outside}" }} parameters {{ key: "nextitem.signature" }}'
        else:
            (folder / model / "warmup").mkdir()
            (folder / model / "warmup" / "data").write_text(text)
            pinned += f' backend: "{text}"'
        (folder / model / "config.pbtxt").write_text(pinned)
    return folder


def placed(repository, folder, version, **changes):
    build(folder, version, **changes)
    replace = check_place(repository, folder, MODELS, replace="text" in changes)
    place(repository, folder, MODELS, version, replace=replace)


@pytest.fixture
def repository(tmp_path):
    """A repository with version 1 of a bundle and another's model."""
    folder = tmp_path / "repository"
    (folder / "other" / "1").mkdir(parents=True)
    (folder / "other" / "1" / "graph").write_text("not ours")
    placed(folder, tmp_path / "first", 1)
    return folder


def test_a_new_version_lies_beside_the_one_that_answers(repository, tmp_path, shop):
    before = shop.snapshot(repository)
    placed(repository, tmp_path / "second", 2)
    found = shop.snapshot(repository)
    assert {name: found[name] for name in before} == before
    new = {f"{model}/2{file}" for model in MODELS for file in ("", "/graph")} | {"top/2/bundle.json"}
    assert set(found) - set(before) == new
    assert found["a/2/graph"] == b"a 2 same"


def test_warm_up_data_of_a_version_alone_come_with_it(repository, tmp_path):
    own = build(tmp_path / "second", 2) / "top" / "warmup" / "2"
    own.mkdir(parents=True)
    (own / "data").write_text("own")
    (repository / "top" / "warmup").mkdir()
    place(repository, tmp_path / "second", MODELS, 2)
    assert (repository / "top" / "warmup" / "2" / "data").read_text() == "own"


def test_a_version_that_another_export_placed_meanwhile_stays(repository, tmp_path, shop):
    place(repository, build(tmp_path / "second", 2), MODELS, 2)
    before = shop.snapshot(repository)
    with pytest.raises(BundleError) as caught:
        place(repository, build(tmp_path / "other", 2), MODELS, 2)
    assert str(caught.value).startswith(f"another export has put version 2 of 'top' into {repository} while this one")
    assert shop.snapshot(repository) == before


def test_the_model_that_clients_call_comes_last(tmp_path, monkeypatch):
    build(tmp_path / "first", 1)
    moved = []
    replace = os.replace
    monkeypatch.setattr(os, "replace", lambda source, target: (moved.append(target), replace(source, target)))
    (tmp_path / "repository").mkdir()
    place(tmp_path / "repository", tmp_path / "first", MODELS, 1)
    assert [path.name for path in moved] == MODELS


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

        replaced = case == "replaced"
        built = build(tmp_path / f"try {failing}", version, "new" if replaced else "same")
        refused = None
        with monkeypatch.context() as patch:
            patch.setattr(os, "replace", fail)
            try:
                place(repository, built, MODELS, version, replace=replaced)
            except (BundleError, KeyboardInterrupt) as refusal:
                refused = refusal
        if refused is None:
            break
        assert shop.snapshot(repository) == before
        if isinstance(error, OSError):
            assert refused.__cause__ is error
            sentence = f"cannot place the bundle in {repository}: No space left on device; the repository is as it was"
            assert str(refused) == sentence
    assert failing >= (6 if case == "replaced" else 3)
    assert shop.snapshot(repository) != before


@pytest.mark.parametrize("what", ["configuration", "warm-up data", "features", "layout"])
def test_what_cannot_be_a_version_is_refused_unless_it_replaces(repository, tmp_path, shop, what):
    before = shop.snapshot(repository)
    models, sentence = MODELS, "a is there with another configuration, and all versions of a model share one"
    if what == "configuration":
        built = build(tmp_path / "second", 2, "changed")
    elif what == "warm-up data":
        built = build(tmp_path / "second", 2)
        (built / "a" / "warmup" / "data").write_text("changed")
    elif what == "features":
        built, sentence = build(tmp_path / "second", 2, outside="y"), "top is there with other features"
    else:
        models, sentence = ["top"], "top is there in another layout"
        built = build(tmp_path / "second", 2, models=models)
    with pytest.raises(BundleError) as caught:
        check_place(repository, built, models, replace=False)
    assert str(caught.value).startswith(sentence)
    assert "under another name, or with ExportOptions(replace=True)" in str(caught.value)
    assert shop.snapshot(repository) == before
    new = shop.snapshot(built)
    assert check_place(repository, built, models, replace=True)
    place(repository, built, models, 2, replace=True)
    other = {name: content for name, content in before.items() if name.startswith("other")}
    assert shop.snapshot(repository) == {**new, **other}


@pytest.mark.parametrize("replace", [True, False])
@pytest.mark.parametrize("config", ['name: "top" platform: "onnxruntime_onnx"', None])
def test_what_is_no_bundle_is_never_replaced(repository, tmp_path, replace, config):
    (repository / "top" / "config.pbtxt").unlink()
    if config:
        (repository / "top" / "config.pbtxt").write_text(config)
    with pytest.raises(BundleError) as caught:
        check_place(repository, build(tmp_path / "second", 2), MODELS, replace=replace)
    assert f"{repository / 'top'} is there and is no model of a bundle" in str(caught.value)
    assert "another name or remove it" in str(caught.value)


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
    with pytest.raises(BundleError) as caught, build_folder(tmp_path / "file" / "repository"):
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
    with pytest.raises(BundleError) as caught, build_folder(repository):
        pass
    assert f"{repository} is a file system of its own" in str(caught.value)
    assert "give a folder inside the mount as the repository" in str(caught.value)
    assert list(tmp_path.iterdir()) == [repository]
