"""Exporting a run directory: what `nextitem-export` does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ._errors import ExportError
from .bundle import Bundle, export_bundle
from .options import ExportOptions


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
    # Imported here: who exports a model of his own has no need of the training package.
    from nextitem_training.errors import NextItemTrainingError
    from nextitem_training.run_directory import RunDirectory

    progress("opening the run")
    try:
        opened = RunDirectory.open(Path(run))
        schema = opened.schema
        model, workflow, sample = opened.load_model(), opened.load_workflow(), opened.sample()
    except NextItemTrainingError as error:
        raise ExportError(str(error)) from error
    return export_bundle(
        model,
        workflow,
        sample,
        repository=repository,
        name=name,
        item_column=schema.item_column,
        item_feature=schema.item_feature,
        features=[feature.name for feature in schema.features],
        window=schema.window,
        tie_breaker_column=schema.tie_breaker_column,
        raw_dtypes={feature.name: feature.dtype for feature in schema.raw_features},
        options=options,
        made_from={"run": Path(run).name},
        progress=progress,
    )
