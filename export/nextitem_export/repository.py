"""Placing a bundle in a model repository: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from ._errors import RepositoryError


@contextlib.contextmanager
def build_folder(repository: Path) -> Iterator[Path]:
    """A folder beside the repository, on the same file system, that is gone afterwards.

    Beside and not inside: Triton takes any folder of a repository for a model.
    """
    repository = repository.resolve()
    try:
        repository.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{repository.name}-export-", dir=repository.parent))
    except OSError as error:
        raise RepositoryError(
            f"cannot write to {repository} and its parent folder, where bundles are built before they are moved: "
            f"{error.strerror}"
        ) from error
    try:
        if folder.stat().st_dev != repository.stat().st_dev:
            raise RepositoryError(
                f"{repository} is a file system of its own, and a bundle is built in its parent folder to be moved in "
                "at once: give a folder inside the mount as --repository"
            )
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def next_version(repository: Path, models: list[str]) -> int:
    """One more than the highest version of any of these models, 1 where there is none."""
    versions = [
        int(folder.name)
        for model in models
        if (repository / model).is_dir()
        for folder in (repository / model).iterdir()
        if folder.name.isdigit()
    ]
    return max(versions, default=0) + 1


def check_place(repository: Path, built: Path, models: list[str], *, replace: bool) -> None:
    """Raise RepositoryError unless the built models can take their places.

    A step's config.pbtxt is shared by all its versions, so a new version must not need another one.
    """
    for model in models:
        place = repository / model
        if not place.exists():
            continue
        config = place / "config.pbtxt"
        ensemble = model == models[-1]  # its configuration is what a new version changes
        if not config.is_file() or (ensemble and b"nextitem.signature" not in config.read_bytes()):
            raise RepositoryError(f"{place} is there and is no model of a bundle: choose another --name or remove it")
        if not ensemble and not replace and config.read_bytes() != (built / model / "config.pbtxt").read_bytes():
            raise RepositoryError(
                f"{model} is there with another configuration, and all versions of a model share one: export under "
                "another --name, or with --replace to put this bundle in the place of the old one"
            )


def place(repository: Path, built: Path, models: list[str], version: int) -> None:
    """Move the built models into the repository, the ensemble (the last of `models`) last.

    Where a model is there already, its new version takes the place of all older ones. If anything fails, the
    repository is put back as it was.
    """
    retired = built / "retired"
    retired.mkdir()
    done: list[tuple[Path, Path | None]] = []  # what was placed, and what stood there before
    moves: list[tuple[Path | None, Path]] = [
        (built / model / part, repository / model / part)
        for model in models
        for part in _parts(repository, built, model, version)
    ]
    # A server loads every version that it finds in a step; one that is running keeps what it has loaded.
    moves += [(None, folder) for model in models for folder in _older(repository / model, version)]
    try:
        for source, target in moves:
            before = retired / str(len(done)) if target.exists() else None
            if before:
                os.replace(target, before)
            done.append((target, before))
            if source:
                os.replace(source, target)
    except BaseException as error:
        for target, before in reversed(done):
            _undo(target, before)
        if isinstance(error, OSError):
            raise RepositoryError(
                f"cannot place the bundle in {repository}: {error.strerror}; the repository is as it was"
            ) from error
        raise


def _parts(repository: Path, built: Path, model: str, version: int) -> list[str]:
    """What of a model is moved, in order: the whole folder where it is new, else version folder first."""
    if not (repository / model).exists():
        return [""]
    rest = [entry.name for entry in (built / model).iterdir() if entry.name != str(version)]
    return [str(version), *sorted(rest, key=lambda name: name == "config.pbtxt")]


def _undo(target: Path, before: Path | None) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if before:
        os.replace(before, target)


def _older(model: Path, version: int) -> list[Path]:
    if not model.exists():
        return []
    return [folder for folder in model.iterdir() if folder.name.isdigit() and int(folder.name) < version]
