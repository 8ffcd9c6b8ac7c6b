"""From a model and a workflow to a bundle in a model repository."""

from __future__ import annotations

import dataclasses
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from nextitem_bundle import placing, versions
from nextitem_bundle.lock import locked
from nextitem_bundle.manifest import manifest_path

from ._errors import ExportError, ParityWarning, repository_errors
from .layouts import LAYOUTS, StepFolders
from .layouts.steps import available_items, write_steps
from .manifest import keep_configurations, write_manifest
from .options import ExportOptions
from .parity.cases import make_cases
from .parity.gate import CaseReport, Gate
from .parity.items import ItemReference
from .parity.truth import Truth
from .plan import Plan, make_plan


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle in its place: the model `<name>`, and in the layout `ensemble` its steps beside it.

    active: the version that answers once a server is started; another than `version` until that one is activated.
    warnings: what the gate could not prove, sentences.
    """

    repository: Path
    name: str
    version: int
    parity: tuple[CaseReport, ...]
    active: int = 1
    warnings: tuple[str, ...] = ()

    @property
    def manifest(self) -> Path:
        """Where its bundle.json is."""
        return manifest_path(self.repository, self.name, self.version)


def export_bundle(
    model: nn.Module,
    workflow: Any,
    sample: pd.DataFrame,
    *,
    repository: str | Path,
    name: str,
    item_column: str = "item_id",
    item_feature: str | None = None,
    features: Sequence[str] | None = None,
    window: int | None = None,
    tie_breaker_column: str | None = None,
    raw_dtypes: Mapping[str, str] | None = None,
    options: ExportOptions | None = None,
    made_from: Mapping[str, Any] | None = None,
    progress: Callable[[str], None] = lambda _: None,
) -> Bundle:
    """Export any torch session model and any fitted `nvtabular.Workflow` as a Triton bundle.

    model: has `query(features) -> float32 [B, D]` and `item_table() -> float32 [V, D]`, or only a forward(features) ->
    scores [B, V]; features is a dict of tensors [B, T], int64 codes or float32, padded on the right with 0, T = window.
    workflow: groups interactions into sessions with one Groupby and returns one list a session for each feature.
    sample: raw interactions of some hundred sessions, with all of the workflow's columns; the parity gate asks them.
    repository, name: the model repository's folder and the name that clients call.
    item_column: the raw column of item ids. item_feature: the workflow's output with their codes; found if not given.
    features: the workflow's outputs that the model reads; the model's `feature_names` or all list outputs if not given.
    window: T; the workflow's ListSlice if not given.
    tie_breaker_column: a raw column that only makes the sort by time unique and is never sent.
    raw_dtypes: pins raw columns to `string`, `bool`, `int64`, `float32`, `datetime` …, where pandas had to change the
    type (integers with nulls).
    made_from: stored in bundle.json.
    progress: called with a sentence before each stage.

    Returns the bundle, moved into place after the parity gate: the first of its name answers as soon as a server is started,
    a later one is a version beside it until `activate_bundle`. Warns (ParityWarning, and `warnings` of what is returned) where
    NVTabular has an answer for less than half of the sample's sessions. Raises ExportError (UnsupportedWorkflow,
    UnsupportedModel, ParityError, RepositoryError); then the repository is as it was.
    """
    options = options or ExportOptions()
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", name):
        raise ExportError(
            f"the name is {name!r}, expected letters, digits, '_', '-' and '.': it becomes a folder and part of URLs"
        )
    progress("reading the workflow and the sample")
    plan = make_plan(
        model,
        workflow,
        sample,
        item_column=item_column,
        item_feature=item_feature,
        features=features,
        window=window,
        tie_breaker_column=tie_breaker_column,
        raw_dtypes=raw_dtypes,
        options=options,
    )
    return _build(plan, Path(repository), name, options, made_from or {}, progress)


def _build(
    plan: Plan,
    target: Path,
    name: str,
    options: ExportOptions,
    made_from: Mapping[str, Any],
    progress: Callable[[str], None],
) -> Bundle:
    layout = LAYOUTS[options.layout](name)
    with repository_errors(), placing.build_folder(target) as build:
        version = versions.next_version(target, layout.models)
        plan = dataclasses.replace(plan, signature=dataclasses.replace(plan.signature, bundle_version=version))
        progress(f"tracing {type(plan.model).__name__} to {options.format}")
        write_steps(layout.folders(build, version), plan, options)
        whole = layout.assemble(build, plan, options)
        reports = _prove(plan, options, layout.folders(build, version), whole, progress)
        progress("writing configuration and manifest")
        layout.write_configs(build, plan, options)
        keep_configurations(build, layout.models, version)
        write_manifest(build, layout.models, plan, options, reports, made_from)
        with locked(target, name, progress):
            replace = placing.check_place(target, build, layout.models, replace=options.replace)
            placing.place(target, build, layout.models, version, replace=replace)
    unproved = tuple(filter(None, (report.warning() for report in reports[:1])))  # the sample as it is
    for sentence in unproved:
        warnings.warn(sentence, ParityWarning, stacklevel=3)
    active = versions.active_version(target, name) or version
    return Bundle(target, name, version, tuple(reports), active, unproved)


def _prove(
    plan: Plan,
    options: ExportOptions,
    folders: StepFolders,
    whole: Path | None,
    progress: Callable[[str], None],
) -> list[CaseReport]:
    items = ItemReference.read(
        folders.items,
        plan.vocabulary.cardinality,
        plan.probe,
        padding=options.item_padding or 0,
        known_alone=options.item_codes == "as-is",
    )
    truth = Truth(
        plan.fitted,
        plan.model,
        plan.features,
        plan.item_feature,
        plan.log_popularity,
        plan.tie_breaker_column,
        items,
    )
    cases = make_cases(
        plan.sessions,
        plan.raw_features,
        time_columns=[c for c in plan.fitted.sort_columns if c in plan.raw_dtypes],
        window=plan.signature.window,
        max_sessions=plan.signature.max_sessions_per_request,
        max_interactions=plan.signature.max_interactions_per_session,
    )
    gate = Gate(
        folders,
        truth,
        plan.signature,
        plan.features,
        items,
        item_feature=plan.item_feature,
        whole=whole,
        available=available_items(plan, options),
    )
    return gate.check(cases, progress)
