"""What is made for these tests is made once, after what it needs, and anew where something else would come of it."""

from __future__ import annotations

import os
import time
from functools import partial
from pathlib import Path

import pytest

from serving_tests.support.made import cache, jobs, recipes
from serving_tests.support.made.jobs import Job, JobFailed


def written(name: str, folder: Path, *, needs: str = "") -> None:
    if needs:
        assert (folder / needs).exists()
    print(f"making {name}", flush=True)
    time.sleep(0.05)
    (folder / name).write_text(str(os.getpid()))


def failing(folder: Path) -> None:
    raise ValueError("no such column")


def killed(folder: Path) -> None:
    os.kill(os.getpid(), 9)


FEW = {
    "a/1": Job("a/1", partial(written, "first", needs="second"), needs=("b",)),
    "a/2": Job("a/2", partial(written, "other")),
    "b": Job("b", partial(written, "second")),
}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A folder for the jobs of FEW, without the imports that they do not need."""
    monkeypatch.setattr(jobs, "SLOW_IMPORTS", ())
    monkeypatch.setattr(cache, "jobs", lambda: FEW)
    monkeypatch.setattr(cache, "daily", lambda: list(FEW))
    return tmp_path / "made"


@pytest.mark.parametrize(
    ("targets", "names"), [(["a"], ["a/1", "a/2", "b"]), (["a/2"], ["a/2"]), (["a/1"], ["a/1", "b"])]
)
def test_a_target_is_a_job_or_a_folder_of_them_with_what_they_need(targets: list[str], names: list[str]) -> None:
    assert list(jobs.closure(FEW, targets)) == names


def test_an_unknown_target_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(KeyError, match="nothing is called 'c'; there are a/1, a/2, b"):
        jobs.closure(FEW, ["c"])


def test_each_job_has_a_process_and_its_output_is_kept(few: Path) -> None:
    cache.make_here(few, ["a"])
    processes = {(few / name).read_text() for name in ("first", "other", "second")}
    assert len(processes) == 3
    assert str(os.getpid()) not in processes
    assert jobs.log_of(few, "a/1").read_text() == "making first\n"


def test_what_is_there_is_not_made_again(few: Path) -> None:
    cache.make_here(few, ["a/1"])
    before = (few / "first").read_text()
    cache.make_here(few, None)
    assert (few / "first").read_text() == before
    assert (few / "other").exists()
    assert cache.missing(few, ["a", "b"]) == []


@pytest.mark.parametrize(("make", "words"), [(failing, "ValueError: no such column"), (killed, "ended with -9")])
def test_a_job_that_fails_is_named_with_what_it_printed_and_all_is_made_anew(
    few: Path, monkeypatch: pytest.MonkeyPatch, make, words: str
) -> None:
    cache.make_here(few, ["b"])
    before = (few / "second").read_text()
    with monkeypatch.context() as broken:
        broken.setattr(cache, "jobs", lambda: FEW | {"a/1": Job("a/1", make)})
        with pytest.raises(JobFailed) as failed:
            cache.make_here(few, ["a/1"])
    assert str(failed.value).startswith("a/1 ended with ")
    assert words in str(failed.value)
    cache.make_here(few, ["a/1"])
    assert (few / "second").read_text() != before


def test_the_key_follows_what_things_are_made_of(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(cache, "ROOT", tmp_path)
    monkeypatch.setattr(cache, "SOURCES", (tmp_path / "package", tmp_path / "data"))
    (tmp_path / "package" / "__pycache__").mkdir(parents=True)
    (tmp_path / "data").write_text("1")
    keys = [cache.key()]
    (tmp_path / "package" / "__pycache__" / "code.pyc").write_text("compiled")
    assert cache.key() == keys[0]
    for file, text in (("package/code.py", "1"), ("package/code.py", "2"), ("data", "2")):
        (tmp_path / file).write_text(text)
        keys.append(cache.key())
    monkeypatch.setattr(cache, "distributions", lambda: [])
    assert len({*keys, cache.key()}) == 5


def test_every_source_is_there_but_for_a_package_that_is_none_yet() -> None:
    assert [path.name for path in cache.SOURCES if not path.exists()] in ([], ["nextitem_bundle"])


def test_the_oldest_others_are_removed(tmp_path: Path) -> None:
    for age, name in enumerate(("now", "newest", "newer", "old", "older")):
        (tmp_path / name).mkdir()
        os.utime(tmp_path / name, (1_000_000 - age, 1_000_000 - age))
        (tmp_path / f"{name}.lock").touch()
    cache.remove_others(tmp_path / "now")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_dir()) == ["newer", "newest", "now"]
    assert not (tmp_path / "older.lock").exists()


def test_every_repository_of_a_recipe_names_a_run_that_is_trained() -> None:
    every = recipes.jobs()
    assert all(set(job.needs) <= set(every) for job in every.values())
    assert set(recipes.daily()) < set(every)
