"""The features step's files: the compiled workflow, or the workflow itself where that is asked for by name."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import onnx

from nextitem_bundle.runtime.item_index import VALUES, ItemIndex
from nextitem_bundle.runtime.signature import Signature

from ..plan import Plan
from ..retrieval.module import filter_tensors
from ..workflow.compile import CompiledWorkflow, compile_workflow, newest_only
from ..workflow.forms import NUMPY, ServedForm
from ..workflow.schedule import FeatureOutput


def write_features(plan: Plan, features: str, folder: Path, form: ServedForm | None = None) -> None:
    """Write the features step of this kind (`compiled` or `nvtabular`) into a version folder.

    form: of a compiled workflow, another one than the compiler chooses.
    Raises UnsupportedWorkflow where the workflow cannot be compiled.
    """
    settings = write_compiled(compile_plan(plan), folder, form) if features == "compiled" else _nvtabular(plan, folder)
    settings |= {"kind": f"features_{features}"}
    write_step(settings, plan.signature, filter_tensors(plan.features)[:2], plan.item_tensor, folder)
    ItemIndex.of(plan.vocabulary.values).save(folder)


def write_step(
    settings: Mapping[str, Any], signature: Signature, filters: Sequence[str], codes: str, folder: Path
) -> None:
    """Write step.json of a features step: what its kind says of itself, and what all kinds have.

    filters: the outputs with the excluded and the allowed codes. codes: the output with the encoded items.
    """
    settings = {**settings, "signature": signature.to_json(), "filters": list(filters), "codes": codes}
    (folder / "step.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def write_compiled(compiled: CompiledWorkflow, folder: Path, form: ServedForm | None = None) -> dict[str, Any]:
    """Write `model.onnx`, or `program/` where the numpy form is served; returns what step.json says of it.

    form: another one than the compiler chooses.
    """
    form = form or compiled.form
    settings = {"form": form.name, "form_reason": form.reason, "newest": newest_only(compiled.program)}
    settings |= {"threads": 1, "batched": False}
    if form.name == NUMPY:
        compiled.program.save(folder / "program")
    else:
        onnx.save(compiled.to_onnx(), str(folder / "model.onnx"))
    return settings


def compile_plan(plan: Plan) -> CompiledWorkflow:
    """The plan's workflow, compiled for what the model reads. Raises UnsupportedWorkflow."""
    return compile_workflow(
        plan.fitted.workflow,
        {name: plan.fitted.raw_columns[name] for name in plan.raw_dtypes},
        [FeatureOutput(feature.name, feature.tensor, feature.dtype) for feature in plan.features],
        session_column=plan.fitted.session_column,
        tie_breaker_column=plan.tie_breaker_column,
        window=plan.signature.window,
        datatypes={feature.name: feature.datatype for feature in plan.raw_features},
        items={} if plan.item_values.are_codes else {plan.item_feature: plan.item_values},
    )


def _nvtabular(plan: Plan, folder: Path) -> dict[str, Any]:
    plan.fitted.save(folder / "workflow")
    if not plan.item_values.are_codes:
        plan.item_values.index().save(folder, VALUES)
    return {
        "item_values": not plan.item_values.are_codes,
        "features": [dataclasses.asdict(feature) for feature in plan.features],
        "columns": {name: plan.fitted.raw_columns[name] for name in plan.raw_dtypes},
        "session_column": plan.fitted.session_column,
        "session_dtype": plan.fitted.raw_columns[plan.fitted.session_column],
        "tie_breaker_column": plan.tie_breaker_column,
    }
