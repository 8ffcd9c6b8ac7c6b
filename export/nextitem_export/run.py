"""Exporting a run directory: what `nextitem-export` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from ._errors import ExportError
from .bundle import Bundle, Target, export_model
from .catalogue.keeping import run_items
from .explain import Refused, explain_columns
from .options import Columns, ExportOptions
from .workflow.compile import Explained

if TYPE_CHECKING:
    from nextitem_training.run_directory import RunDirectory

T = TypeVar("T")


def export_run(
    run: str | Path,
    *,
    repository: str | Path,
    name: str,
    options: ExportOptions | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Export a run directory. The workflow in it is unpickled: export only runs that you trust.

    Args:
        run: the run directory.
        repository: the model repository's folder.
        name: the name that clients call.
        options: how the bundle is made. None: the defaults.
        progress: called with a sentence before each stage.

    Returns:
        The bundle in its place.

    Raises:
        ExportError: the folder is not a run directory, or the export was refused as `export_bundle` says; a subclass
            says why. The repository is as it was.
    """
    target = Target(Path(repository), name, {"run": Path(run).name})
    progress("opening the run")
    opened = _opened(run)
    model, workflow, sample = _read(opened.load_model), _read(opened.load_workflow), _read(opened.sample)
    items = _read(lambda: run_items(opened, model, workflow))
    model.fold()
    return export_model(model, workflow, sample, _columns(opened), options or ExportOptions(), target, progress, items)


def explain_run(run: str | Path, options: ExportOptions | None = None) -> list[Explained | Refused]:
    """What becomes of each column of a run's workflow, see `explain_workflow`. Raises ExportError as `export_run` does."""
    opened = _opened(run)
    keep_oldest = (options or ExportOptions()).keep_workflow_window
    return explain_columns(_read(opened.load_workflow), _columns(opened), keep_oldest=keep_oldest)


def _read(load: Callable[[], T]) -> T:
    # Imported here: who exports a model of his own has no need of the training package.
    from nextitem_training.errors import NextItemTrainingError

    try:
        return load()
    except NextItemTrainingError as error:
        raise ExportError(str(error)) from error


def _opened(run: str | Path) -> RunDirectory:
    from nextitem_training.run_directory import RunDirectory

    return _read(lambda: RunDirectory.open(Path(run)))


def _columns(opened: RunDirectory) -> Columns:
    """What a run says of its columns."""
    schema = opened.schema
    return Columns(
        item_column=schema.item_column,
        item_feature=schema.item_feature,
        features=[feature.name for feature in schema.features],
        window=schema.window,
        tie_breaker_column=schema.tie_breaker_column or None,
        raw_dtypes={feature.name: feature.dtype for feature in schema.raw_features},
    )
