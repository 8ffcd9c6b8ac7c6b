"""Exporting a run directory: what `nextitem-export` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from ._errors import ExportError
from .bundle import Bundle, export_bundle
from .explain import Refused, explain_workflow
from .options import ExportOptions
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
    """Export a run directory; see `export_bundle` for what is returned and raised.

    Raises ExportError also if the folder is no run directory. Unpickles the run's workflow: export only runs that you
    trust.
    """
    progress("opening the run")
    opened = _opened(run)
    return export_bundle(
        _read(lambda: opened.load_model().fold()),
        _read(opened.load_workflow),
        _read(opened.sample),
        **_columns(opened),
        repository=repository,
        name=name,
        options=options,
        made_from={"run": Path(run).name},
        progress=progress,
    )


def explain_run(run: str | Path, options: ExportOptions | None = None) -> list[Explained | Refused]:
    """What becomes of each column of a run's workflow, see `explain_workflow`. Raises ExportError as `export_run` does."""
    options = options or ExportOptions()
    opened = _opened(run)
    columns = _columns(opened)
    del columns["window"]
    workflow = _read(opened.load_workflow)
    return explain_workflow(workflow, **columns, keep_workflow_window=options.keep_workflow_window)


def _read(load: Callable[..., T], *arguments: Any) -> T:
    # Imported here: who exports a model of his own has no need of the training package.
    from nextitem_training.errors import NextItemTrainingError

    try:
        return load(*arguments)
    except NextItemTrainingError as error:
        raise ExportError(str(error)) from error


def _opened(run: str | Path) -> RunDirectory:
    from nextitem_training.run_directory import RunDirectory

    return _read(RunDirectory.open, Path(run))


def _columns(opened: RunDirectory) -> dict[str, Any]:
    """What a run says of its columns, as arguments of `export_bundle`."""
    schema = opened.schema
    return {
        "item_column": schema.item_column,
        "item_feature": schema.item_feature,
        "features": [feature.name for feature in schema.features],
        "window": schema.window,
        "tie_breaker_column": schema.tie_breaker_column,
        "raw_dtypes": {feature.name: feature.dtype for feature in schema.raw_features},
    }
