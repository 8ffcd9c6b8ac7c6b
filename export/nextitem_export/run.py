"""Exporting a run directory: what `nextitem-export` does."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from ._errors import ExportError, UnsupportedWorkflow
from .bundle import Bundle, export_bundle
from .graphs.features import explain_plan
from .options import ExportOptions
from .plan import make_plan
from .workflow.compile import Explained


def export_run(
    run: str | Path,
    *,
    repository: str | Path,
    name: str,
    options: ExportOptions | None = None,
    tune: Collection[str] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Export a run directory; see `export_bundle` for what is returned and raised.

    Raises ExportError also if the folder is no run directory. Unpickles the run's workflow: export only runs that you
    trust.
    """
    progress("opening the run")
    return export_bundle(
        **_opened(run),
        repository=repository,
        name=name,
        options=options,
        tune=tune,
        made_from={"run": Path(run).name},
        progress=progress,
    )


def explain_run(run: str | Path, options: ExportOptions | None = None) -> list[Explained | UnsupportedWorkflow]:
    """How each feature of a run's model is compiled, or why it is not. Raises ExportError as `export_run` does."""
    return explain_plan(make_plan(**_opened(run), options=options or ExportOptions()))


def _opened(run: str | Path) -> dict[str, Any]:
    """The run as arguments of `export_bundle`."""
    # Imported here: who exports a model of his own has no need of the training package.
    from nextitem_training.errors import NextItemTrainingError
    from nextitem_training.run_directory import RunDirectory

    try:
        opened = RunDirectory.open(Path(run))
        model, workflow, sample = opened.load_model().fold(), opened.load_workflow(), opened.sample()
    except NextItemTrainingError as error:
        raise ExportError(str(error)) from error
    schema = opened.schema
    return {
        "model": model,
        "workflow": workflow,
        "sample": sample,
        "item_column": schema.item_column,
        "item_feature": schema.item_feature,
        "features": [feature.name for feature in schema.features],
        "window": schema.window,
        "tie_breaker_column": schema.tie_breaker_column,
        "raw_dtypes": {feature.name: feature.dtype for feature in schema.raw_features},
    }
