"""Checks on a model repository that Triton would answer with a riddle, and waiting for one to be filled."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from pathlib import Path

from nextitem_server.errors import EmptyRepository, RepositoryError

HOW_TO_EXPORT = "Export a trained model into it: nextitem-export --run runs/<name> --repository {}"
LOOK_EVERY_S = 2.0
#: Triton 24.10 starts the process of a Python model by an unquoted line of bash, in the C locale: other signs would split it,
#: be run, or not be found.
#: A colon would part it in a list such as LD_LIBRARY_PATH.
PLAIN_PATH = re.compile(r"[A-Za-z0-9_./@%+=,~-]+")
_CONFIG = "config.pbtxt"
_PLAIN_NAME = re.compile(r"[A-Za-z0-9_.-]+")


def check_repositories(paths: Sequence[Path], *, may_be_empty: bool = False) -> dict[Path, list[str]]:
    """The names of the models in each repository, sorted; no name may be in two.

    Raises RepositoryError, EmptyRepository: see check_repository.
    """
    found: dict[Path, list[str]] = {}
    for path in paths:
        models = check_repository(path, may_be_empty=may_be_empty)
        for other, its_models in found.items():
            if twice := sorted(set(models) & set(its_models)):
                raise RepositoryError(
                    f"Model {twice[0]} is in two of the model repositories, {other} and {path}, and a server has one of a "
                    "name. Export it under another name (nextitem-export --name), or leave one of the two folders out."
                )
        found[path] = models
    return found


def check_repository(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """The names of the models in the repository at `path`, sorted.

    Raises RepositoryError if there is no such folder, EmptyRepository if no model is in it and not `may_be_empty`.
    """
    how = HOW_TO_EXPORT.format(path)
    try:
        models = sorted(folder.name for folder in path.iterdir() if _is_model(folder))
    except FileNotFoundError:
        raise RepositoryError(f"The model repository {path} does not exist. {how}") from None
    except NotADirectoryError:
        raise RepositoryError(f"The model repository {path} is a file; a folder is expected.") from None
    except OSError as error:
        raise RepositoryError(
            f"The model repository {path} cannot be read ({error.strerror}). Let the user who runs nextitem-serve read it."
        ) from None
    wrong = [name for name in models if not _PLAIN_NAME.fullmatch(name)]
    if wrong:
        raise RepositoryError(
            f"The model folder {wrong[0]!r} in {path} has a name that Triton cannot start a model by; expected are letters and "
            "digits of ASCII, '_', '-' and '.'. Export it under another name, or move the folder away."
        )
    if models or may_be_empty:
        return models
    if (path / _CONFIG).is_file():
        raise RepositoryError(
            f"{path} is a model, not a model repository: give the folder that it lies in, {path.resolve().parent}."
        )
    beside = f" {left}" if (left := left_alone(path)) else ""
    raise EmptyRepository(f"The model repository {path} holds no model.{beside} {how}")


def left_alone(path: Path) -> str | None:
    """A sentence on the folders in the repository that are no models, such as a volume's lost+found; None if there are none."""
    others = [folder for folder in path.iterdir() if not folder.name.startswith(".") and not _is_model(folder)]
    told = [f"{folder.name} ({why})" for folder in sorted(others) if (why := _why_none(folder))]
    return f"Left alone in {path}: {', '.join(told)}." if told else None


def _is_model(folder: Path) -> bool:
    """Whether it has a configuration that can be read, or a version whose configuration Triton makes itself."""
    try:
        if (folder / _CONFIG).is_file():
            with (folder / _CONFIG).open("rb"):
                return True
        return folder.is_dir() and any(any(folder.glob(f"{number}/model.*")) for number in _versions(folder))
    except OSError:  # it may not be read
        return False


def _versions(folder: Path) -> list[str]:
    return [version.name for version in folder.iterdir() if version.name.isdigit()]


def _why_none(folder: Path) -> str | None:
    """Why a folder is no model; None for a file, of which nobody expects that it is one."""
    try:
        if not folder.is_dir():
            return None
        (folder / _CONFIG).open("rb").close()
    except IsADirectoryError:
        return f"{_CONFIG} is no file"
    except FileNotFoundError:
        return f"no {_CONFIG} in it"
    except OSError as error:
        return str(error.strerror)
    return f"{_CONFIG} is no file"


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
