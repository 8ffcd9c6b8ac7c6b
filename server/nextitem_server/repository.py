"""Checks on a model repository that Triton would answer with a riddle."""

from __future__ import annotations

from pathlib import Path

from nextitem_server.errors import RepositoryError

HOW_TO_EXPORT = "Export a trained model into it: nextitem-export --run runs/<name> --repository {}"


def check_repository(path: Path, *, may_be_empty: bool = False) -> list[str]:
    """The names of the models in the repository at `path`, sorted.

    Raises RepositoryError if there is no such folder, or no model in it and not `may_be_empty`.
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
    raise RepositoryError(f"The model repository {path} holds no model. {how}")
