"""Placing a bundle in a model repository: all of it or nothing."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Generator
from pathlib import Path

from .config import same_outside
from .errors import BundleError
from .manifest import read_manifest
from .signature import PARAMETER
from .versions import CONFIG, WARM_UP, active_version, same_but_for_versions


@contextlib.contextmanager
def build_folder(repository: Path) -> Generator[Path]:
    """A folder beside the repository, on the same file system, that is removed afterwards.

    Beside and not inside: Triton takes any folder of a repository for a model.

    Args:
        repository: the model repository's folder. It is made where it does not exist.

    Raises:
        BundleError: the folder cannot be made, or the repository is a file system of its own.
    """
    repository = repository.resolve()
    try:
        repository.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{repository.name}-export-", dir=repository.parent))
    except OSError as error:
        raise BundleError(
            f"cannot write to {repository} and its parent folder, where bundles are built before they are moved: "
            f"{error.strerror}"
        ) from error
    try:
        if folder.stat().st_dev != repository.stat().st_dev:
            raise BundleError(
                f"{repository} is a file system of its own, and a bundle is built in its parent folder to be moved in "
                "at once: give a folder inside the mount as the repository"
            )
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def check_place(repository: Path, built: Path, models: list[str], *, replace: bool) -> bool:
    """Say whether the built models have to replace all that is there; otherwise they can become a version beside it.

    A step's config.pbtxt is shared by all its versions, and so are its warm-up data. Clients should not notice a new
    version.

    Args:
        repository: the model repository's folder.
        built: the folder with the built models.
        models: the models' names, the one that clients call last.
        replace: replacing is allowed.

    Returns:
        Whether `place` has to replace.

    Raises:
        BundleError: a folder of that name is not a model of a bundle, or the models do not fit and must not replace.
    """
    name = models[-1]
    reasons: list[str] = []
    for model in models:
        place = repository / model
        if not place.exists():
            continue
        config = place / CONFIG
        if not config.is_file() or (model == name and PARAMETER.encode() not in config.read_bytes()):
            raise BundleError(f"{place} is there and is no model of a bundle: choose another name or remove it")
        if model != name and not _same_configuration(place, built / model):
            reasons.append(f"{model} is there with another configuration, and all versions of a model share one")
    active = active_version(repository, name)
    if (repository / name).exists():
        if active is None or tuple(models) != read_manifest(repository, name, active).models:
            reasons.append(f"{name} is there in another layout, and its versions are switched as they are")
        elif not same_outside(repository / name / CONFIG, built / name / CONFIG):
            reasons.append(
                f"{name} is there with other features, and clients of both would have to ask for different ones"
            )
    if reasons and not replace:
        raise BundleError(
            f"{reasons[0]}: export under another name, or with ExportOptions(replace=True) to put this bundle in the place "
            "of the old one"
        )
    return bool(reasons)


def _same_configuration(there: Path, built: Path) -> bool:
    """But for the version that is served."""
    if not same_but_for_versions(there / CONFIG, built / CONFIG):
        return False
    warm_ups = [
        {path.name: path.read_bytes() for path in (model / WARM_UP).glob("*") if path.is_file()}
        for model in (there, built)
    ]
    return warm_ups[0] == warm_ups[1]


def place(repository: Path, built: Path, models: list[str], version: int, *, replace: bool = False) -> None:
    """Move the built models into the repository, the one that clients call last.

    Models that are there get one more version, which is not served yet. If anything fails, the repository is put back
    as it was.

    Args:
        repository: the model repository's folder.
        built: the folder with the built models, on the same file system.
        models: the models' names, the one that clients call last.
        version: the version of the built models.
        replace: take the models that are there out instead, with all their versions.

    Raises:
        BundleError: a model cannot be moved, or another export has placed the version meanwhile.
    """
    if not replace and any((repository / model / str(version)).exists() for model in models):
        raise BundleError(
            f"another export has put version {version} of '{models[-1]}' into {repository} while this one was made: export it "
            "again"
        )
    retired = built / "retired"
    retired.mkdir()
    done: list[tuple[Path, Path | None]] = []  # what was placed, and what stood there before
    moves: list[tuple[Path | None, Path]] = []
    if replace:
        old = active_version(repository, models[-1])
        gone = read_manifest(repository, models[-1], old).models if old else ()
        moves = [(built / model, repository / model) for model in models]
        moves += [(None, repository / model) for model in gone if model not in models]
    else:
        moves = [
            (built / part, repository / part) for model in models for part in _parts(repository, built, model, version)
        ]
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
            raise BundleError(
                f"cannot place the bundle in {repository}: {error.strerror}; the repository is as it was"
            ) from error
        raise


def _parts(repository: Path, built: Path, model: str, version: int) -> list[str]:
    """What of a model is moved, in order: the whole folder where it is new, else what belongs to the version alone."""
    if not (repository / model).exists():
        return [model]
    own = f"{model}/{WARM_UP}/{version}"
    return [*([own] if (built / own).exists() else []), f"{model}/{version}"]


def _undo(target: Path, before: Path | None) -> None:
    if target.is_dir():
        shutil.rmtree(target)
    else:
        target.unlink(missing_ok=True)
    if before:
        os.replace(before, target)
