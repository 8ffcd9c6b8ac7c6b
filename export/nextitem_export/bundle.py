"""From a model and a workflow to a bundle in a model repository."""

from __future__ import annotations

import dataclasses
import re
import shutil
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from torch import nn

from nextitem_bundle import placing, versions
from nextitem_bundle.errors import BundleError
from nextitem_bundle.lock import locked
from nextitem_bundle.manifest import CatalogueSummary, manifest_path, read_manifest

from ._errors import ExportError, ParityWarning, repository_errors
from .catalogue.keeping import RunItems, keep_catalogue
from .layouts import LAYOUTS, Layout, StepFolders
from .layouts.steps import Written, write_steps
from .manifest import keep_configurations, write_manifest
from .model_files.file import ModelFile, is_onnx
from .options import Columns, ExportOptions
from .parity.compare import RankingError
from .parity.gate import CaseReport, prove
from .plan import Plan, make_plan
from .retrieval.formats import AUTO, GraphError, formats_to_try, reason_of, refusal


@dataclasses.dataclass(frozen=True)
class Target:
    """Where a bundle goes, and what its manifest says that it was made from. Raises ExportError for a name that is none."""

    repository: Path
    name: str
    made_from: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", self.name):
            raise ExportError(
                f"the name is {self.name!r}, expected letters, digits, '_', '-' and '.': it becomes a folder and part of URLs"
            )


@dataclasses.dataclass(frozen=True)
class Bundle:
    """A bundle in its place: the model `<name>`, and in the layout `ensemble` its steps beside it.

    Attributes:
        repository: the model repository's folder.
        name: the model that clients call.
        version: the version that was exported.
        parity: how each case of the parity gate came out.
        active: the version that answers once a server is started. It differs from `version` until that one is
            activated.
        warnings: what the parity gate could not prove, a sentence each.
        format: how the session model is written: `onnx`, `onnx_dynamo` or `torchscript`.
        fell_out: the formats that were tried before it, and why each was left.
    """

    repository: Path
    name: str
    version: int
    parity: tuple[CaseReport, ...]
    active: int = 1
    warnings: tuple[str, ...] = ()
    format: str = "onnx"
    fell_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def manifest(self) -> Path:
        """Where its bundle.json is."""
        return manifest_path(self.repository, self.name, self.version)


def export_bundle(
    model: nn.Module | str | Path | ModelFile | Any,
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

    The bundle is moved into the repository after the parity gate. The first of its name answers as soon as a server is
    started. A later one adds a version; the active one keeps serving until `activate_bundle`. A ParityWarning is issued
    where NVTabular has an answer for less than half of the sample's sessions.

    Args:
        model: has `query(features) -> float32 [B, D]` and `item_table() -> float32 [V, D]`, or only `forward(features)
            -> float32 [B, V]`. `features` is a dict of tensors [B, T], int64 codes or float32, padded on the right with
            0, where T is the window. Or the same as a file: a path of TorchScript or ONNX, what one holds, or a ModelFile.
        workflow: groups interactions into sessions with one Groupby and returns one list for each session and feature.
        sample: raw interactions of some hundred sessions, with all of the workflow's columns. The parity gate sends
            them.
        repository: the model repository's folder.
        name: the name that clients call.
        item_column: the raw column of item ids.
        item_feature: the workflow's output with the items' codes. None: found.
        features: the workflow's outputs that the model reads. None: the model's `feature_names`, or all list outputs.
        window: T, the interactions that the model reads at most. None: the workflow's ListSlice.
        tie_breaker_column: a raw column that only makes the sort by time unique and is never sent.
        raw_dtypes: pins raw columns to `string`, `bool`, `int64`, `float32`, `datetime` …, where pandas had to change
            the type (integers with nulls).
        options: how the bundle is made. None: the defaults.
        made_from: stored in bundle.json.
        progress: called with a sentence before each stage.

    Returns:
        The bundle in its place.

    Raises:
        UnsupportedWorkflow: the workflow cannot be served as it is.
        UnsupportedModel: the model does not fit the workflow, or cannot be exported.
        ParityError: the exported graphs do not answer as NVTabular and the eager model do.
        RepositoryError: the bundle cannot be placed. As with every error, the repository is as it was.
        ExportError: the name cannot be the name of a model.
    """
    columns = Columns(item_column, item_feature, features, window, tie_breaker_column, raw_dtypes)
    target = Target(Path(repository), name, made_from or {})
    return export_model(model, workflow, sample, columns, options or ExportOptions(), target, progress)


def export_model(
    model: object,
    workflow: Any,
    sample: pd.DataFrame,
    columns: Columns,
    options: ExportOptions,
    target: Target,
    progress: Callable[[str], None],
    items: RunItems | None = None,
) -> Bundle:
    """`export_bundle` with its settings as they are handed on: plan, steps, proof, manifest, place. items: of a run."""
    progress("reading the workflow and the sample")
    plan = make_plan(model, workflow, sample, columns, options)
    plan = plan if items is None else plan.with_catalogue(items.attributes.sent)
    with repository_errors(), placing.build_folder(target.repository) as folder:
        build, written, reports = _first_proved(_started(folder, plan, options, target), target, progress)
        progress("writing catalogue, configuration and manifest")
        _describe(build, target, reports, _keep_catalogue(build, written, items))
        _place(build, target, progress)
    unproved = tuple(filter(None, (report.warning() for report in reports[:1])))  # the sample as it is
    for sentence in unproved:
        warnings.warn(sentence, ParityWarning, stacklevel=3)
    active = versions.active_version(target.repository, target.name) or build.version
    return Bundle(
        target.repository,
        target.name,
        build.version,
        reports,
        active,
        unproved,
        build.options.format,
        build.fell_out,
    )


@dataclasses.dataclass(frozen=True)
class _Build:
    """A bundle on its way, in a folder that is moved into the repository at the end. fell_out: see Bundle."""

    folder: Path
    layout: Layout
    plan: Plan
    options: ExportOptions
    fell_out: Mapping[str, str] = dataclasses.field(default_factory=dict)

    @property
    def version(self) -> int:
        return self.plan.signature.bundle_version

    @property
    def steps(self) -> StepFolders:
        return self.layout.folders(self.folder, self.version)

    def anew(self, format_name: str, fell_out: Mapping[str, str]) -> _Build:
        """The same in another format, from an empty folder."""
        for path in self.folder.iterdir():
            shutil.rmtree(path)
        options = dataclasses.replace(self.options, format=format_name)
        return dataclasses.replace(self, options=options, fell_out=fell_out)


def _started(folder: Path, plan: Plan, options: ExportOptions, target: Target) -> _Build:
    layout = LAYOUTS[options.layout](target.name)
    return _Build(folder, layout, plan.as_version(versions.next_version(target.repository, layout.models)), options)


def _first_proved(
    started: _Build, target: Target, progress: Callable[[str], None]
) -> tuple[_Build, Written, tuple[CaseReport, ...]]:
    """The bundle in the first format that passes the gate, what was written, and the gate's reports.

    Raises ExportError where none does.
    """
    asked, model = started.options, type(started.plan.model).__name__
    active = None if asked.replace else _active_format(target)
    allowed = asked.scoring == "exact" and asked.accelerator != "tensorrt"
    formats = formats_to_try(asked.format, active, onnx_file=is_onnx(started.plan.model), torchscript=allowed)
    errors: dict[str, ExportError] = {}
    why = ""
    for name in formats:
        build = started.anew(name, {tried: reason_of(error) for tried, error in errors.items()})
        progress(f"tracing {model} to {name}{why}")
        try:
            written = write_steps(build.steps, build.plan, build.options)
            whole = build.layout.assemble(build.folder, build.plan, build.options)
            return build, written, prove(build.plan, build.options, build.steps, whole, progress)
        except (GraphError, RankingError) as error:
            errors[name] = error
            why = f", since {name} fell out: {reason_of(error)}"
    withheld = asked.format == AUTO and allowed and "torchscript" not in formats and active is not None
    if len(errors) == 1:
        raise errors[formats[0]]
    raise refusal(model, asked.format, errors, withheld=withheld) from errors[formats[-1]]


def _active_format(target: Target) -> str | None:
    """How the version that answers under this name is written; None where there is none, or its manifest cannot be read."""
    active = versions.active_version(target.repository, target.name)
    try:
        return None if active is None else read_manifest(target.repository, target.name, active).format
    except BundleError:
        return None


def _keep_catalogue(build: _Build, written: Written, items: RunItems | None) -> CatalogueSummary:
    models, version = build.layout.models, str(build.version)
    folder = build.folder / models[-1] / version
    folder.mkdir(parents=True, exist_ok=True)
    return keep_catalogue(build.plan, build.options, written, items, folder, build.folder / models[0] / version)


def _describe(build: _Build, target: Target, reports: Sequence[CaseReport], catalogue: CatalogueSummary) -> None:
    """Write what stands beside the models: their configurations and the manifest."""
    models = build.layout.models
    build.layout.write_configs(build.folder, build.plan, build.options)
    keep_configurations(build.folder, models, build.version)
    write_manifest(
        build.folder, models, build.plan, build.options, reports, target.made_from, build.fell_out, catalogue
    )


def _place(build: _Build, target: Target, progress: Callable[[str], None]) -> None:
    models = build.layout.models
    with locked(target.repository, target.name, progress):
        replace = placing.check_place(target.repository, build.folder, models, replace=build.options.replace)
        placing.place(target.repository, build.folder, models, build.version, replace=replace)
