"""The features step's files: the compiled workflow, or the workflow itself where that is asked for by name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import onnx

from nextitem_bundle.runtime.item_index import VALUES, ItemIndex
from nextitem_bundle.runtime.signature import Signature
from nextitem_bundle.runtime.steps import CompiledFeatures, NvtabularFeatures, write_step

from ..plan import Plan
from ..retrieval.tensors import filter_tensors
from ..workflow.backend_choice import NUMPY, BackendChoice, newest_only
from ..workflow.compile import CompiledWorkflow, compile_workflow
from ..workflow.schedule import FeatureOutput


def write_features(
    plan: Plan, features: str, folder: Path, backend: BackendChoice | None = None
) -> CompiledWorkflow | None:
    """Write the features step of this kind (`compiled` or `nvtabular`) into a version folder.

    backend: of a compiled workflow, another one than the compiler chooses. Returns the compiled workflow, where it is one.
    Raises UnsupportedWorkflow where the workflow cannot be compiled.
    """
    compiled = compile_plan(plan) if features == "compiled" else None
    filters = filter_tensors(plan.features)[:2]
    if compiled is not None:
        write_compiled(compiled, plan.signature, filters, plan.item_tensor, folder, backend)
    else:
        _write_nvtabular(plan, filters, folder)
    ItemIndex.of(plan.vocabulary.values).save(folder)
    return compiled


def write_compiled(
    compiled: CompiledWorkflow,
    signature: Signature,
    filters: Sequence[str],
    codes: str,
    folder: Path,
    backend: BackendChoice | None = None,
) -> None:
    """Write `model.onnx`, or `program/` where the numpy backend is served, and step.json.

    filters, codes: see CompiledFeatures. backend: another one than the compiler chooses.
    """
    backend = backend or compiled.backend
    if backend.name == NUMPY:
        compiled.program.save(folder / "program")
    else:
        onnx.save(compiled.to_onnx(), str(folder / "model.onnx"))
    newest = newest_only(compiled.program)
    write_step(folder, CompiledFeatures(signature, tuple(filters), codes, backend.name, backend.reason, newest))


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


def _write_nvtabular(plan: Plan, filters: Sequence[str], folder: Path) -> None:
    plan.fitted.save(folder / "workflow")
    if not plan.item_values.are_codes:
        plan.item_values.index().save(folder, VALUES)
    settings = NvtabularFeatures(
        signature=plan.signature,
        filters=tuple(filters),
        codes=plan.item_tensor,
        features=plan.features,
        columns={name: plan.fitted.raw_columns[name] for name in plan.raw_dtypes},
        session_column=plan.fitted.session_column,
        session_dtype=plan.fitted.raw_columns[plan.fitted.session_column],
        tie_breaker_column=plan.tie_breaker_column,
        item_values=not plan.item_values.are_codes,
    )
    write_step(folder, settings)
