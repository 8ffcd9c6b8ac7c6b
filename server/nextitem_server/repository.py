"""Checks on a model repository that Triton would answer with a riddle, and waiting for one to be filled."""

from __future__ import annotations

import time
from pathlib import Path

from nextitem_server.errors import EmptyRepository, RepositoryError

HOW_TO_EXPORT = "Export a trained model into it: nextitem-export --run runs/<name> --repository {}"
LOOK_EVERY_S = 2.0


def check_repository(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """The names of the models in the repository at `path`, sorted.

    Raises RepositoryError if there is no such folder, EmptyRepository if no model is in it and not `may_be_empty`.
    """
    how = HOW_TO_EXPORT.format(path)
    if not path.exists():
        raise RepositoryError(f"The model repository {path} does not exist. {how}")
    if not path.is_dir():
        raise RepositoryError(f"The model repository {path} is a file; a folder is expected.")
    models = sorted(folder.name for folder in path.iterdir() if (folder / "config.pbtxt").is_file())
    if models or may_be_empty:
        return models
    if (path / "config.pbtxt").is_file():
        raise RepositoryError(
            f"{path} is a model, not a model repository: give the folder that it lies in, {path.resolve().parent}."
        )
    raise EmptyRepository(f"The model repository {path} holds no model. {how}")


def wait_for_models(path: Path) -> None:
    """Return once the repository at `path` holds a model and no file in it changed between two looks.

    An export puts its models in place within one look; a copy over a network takes longer. Raises RepositoryError.
    """
    before: set[tuple[str, int, int]] | None = None
    while True:
        files = _files(path)
        if files == before and check_repository(path, may_be_empty=True):
            return
        before = files
        time.sleep(LOOK_EVERY_S)


def _files(path: Path) -> set[tuple[str, int, int]]:
    """Name, size and time of change in nanoseconds of whatever lies in the repository."""
    found: set[tuple[str, int, int]] = set()
    for file in path.rglob("*"):
        try:
            status = file.stat()
        except OSError:  # renamed meanwhile: the next look sees it
            continue
        found.add((str(file), status.st_size, status.st_mtime_ns))
    return found
