"""Where what was made is kept, and when it is made anew."""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import distributions
from pathlib import Path

from filelock import FileLock

from serving_tests.support.made.jobs import closure, log_of, make, under_way
from serving_tests.support.made.recipes import ANY_MODEL, daily, jobs
from serving_tests.support.made.shop import ROOT

CACHE = ROOT / ".cache" / "served"
#: What is made is made of: these files, the installed packages and the interpreter.
SOURCES = (
    ROOT / "bundle" / "nextitem_bundle",
    ROOT / "training" / "nextitem_training",
    ROOT / "export" / "nextitem_export",
    ROOT / "serving_tests" / "support" / "made",
    ROOT / "serving_tests" / "support" / "bundles.py",
    ROOT / "demo" / "clicks.parquet",
    ROOT / "demo" / "config.toml",
    ANY_MODEL,
)
#: Results of other sources that stay, for a branch that one comes back to.
KEPT = 2
PROCESSES = 2


class MakingFailed(Exception):  # noqa: N818
    """What the making printed."""


@dataclasses.dataclass(frozen=True)
class Made:
    """Runs, repositories and other results in a folder, made where they are missing. Nobody may change them there."""

    folder: Path
    complete: bool = False

    def run(self, name: str) -> Path:
        """A run directory."""
        return self.result(f"runs/{name}") / "run"

    def repository(self, name: str, copy: Path) -> Path:
        """Copy a result with its model repository, which a server or a test may then change; returns the copy."""
        return Path(shutil.copytree(self.result(name), copy, symlinks=True))

    def result(self, name: str) -> Path:
        """The folder that a recipe filled, or several did. Raises MakingFailed."""
        if not self.complete:
            _ensure(self.folder, [name])
        return self.folder / name

    def printed(self, name: str) -> str:
        """What the commands of a recipe printed while they made it."""
        self.result(name)
        return log_of(self.folder, name).read_text()


def cached() -> Made:
    """What belongs to the sources as they are now."""
    return Made(CACHE / key())


def key() -> str:
    """A word that is another one whenever something else might be made."""
    found = hashlib.sha256(sys.version.encode())
    for package in sorted(f"{each.name}=={each.version}\n" for each in distributions()):
        found.update(package.encode())
    for file in _files(SOURCES):
        found.update(file.relative_to(ROOT).as_posix().encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def make_here(folder: Path, targets: Sequence[str] | None) -> None:
    """Make what is missing in the folder; None: what the daily tests need. Raises JobFailed.

    One process makes, others wait for it. What an interrupted one left is removed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with FileLock(f"{folder}.lock"):
        if under_way(folder):
            shutil.rmtree(folder)
        left = missing(folder, daily() if targets is None else targets)
        make({name: job for name, job in jobs().items() if name in left}, folder, PROCESSES)


def missing(folder: Path, targets: Iterable[str]) -> list[str]:
    """Names of the jobs that have to be done for these targets."""
    return [name for name in closure(jobs(), targets) if not log_of(folder, name).exists()]


def remove_others(folder: Path, kept: int = KEPT) -> None:
    """Remove what lies beside the folder but for the newest."""
    os.utime(folder)
    others = sorted(
        (path for path in folder.parent.iterdir() if path.is_dir() and path != folder),
        key=lambda path: path.stat().st_mtime,
    )
    for old in others[: max(0, len(others) - kept)]:
        shutil.rmtree(old)
        Path(f"{old}.lock").unlink(missing_ok=True)


def _ensure(folder: Path, targets: Sequence[str]) -> None:
    if not missing(folder, targets):
        return
    # In a process that has no threads yet, as the jobs' processes are forked from it.
    command = [sys.executable, "-m", "serving_tests.support.made", *targets]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise MakingFailed(done.stdout)


def _files(places: Iterable[Path]) -> Iterator[Path]:
    for place in places:
        if place.is_file():
            yield place
        else:
            yield from sorted(path for path in place.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
