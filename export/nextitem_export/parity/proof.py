"""Proving a bundle: what its steps answer is held against NVTabular and the eager model, case by case."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..adapters.rows import ByRow
from ..layouts import StepFolders
from ..layouts.steps import available_items
from ..options import ExportOptions
from ..plan import Plan
from .cases import make_cases
from .gate import CaseReport, Gate
from .items import ItemReference, ModelRows
from .reference import Reference


def prove(
    plan: Plan, options: ExportOptions, folders: StepFolders, whole: Path | None, progress: Callable[[str], None]
) -> tuple[CaseReport, ...]:
    """One report for each case, the sample as it is first.

    folders: of the three steps. whole: the version folder of the one model that they were made, None where they stay three.
    Raises ParityError.
    """
    items = ItemReference.read(
        folders.items,
        plan.vocabulary.cardinality,
        plan.probe,
        padding=options.item_padding or 0,
        known_alone=options.item_codes == "as-is",
        model_rows=ModelRows(plan.model.rows, plan.model.places.row) if isinstance(plan.model, ByRow) else None,
    )
    cases = make_cases(
        plan.sessions,
        plan.raw_features,
        time_columns=[c for c in plan.fitted.sort_columns if c in plan.raw_dtypes],
        window=plan.signature.window,
        max_sessions=plan.signature.max_sessions_per_request,
        max_interactions=plan.signature.max_interactions_per_session,
    )
    gate = Gate(folders, Reference(plan, items), plan, items, whole=whole, available=available_items(plan, options))
    return tuple(gate.check(cases, progress))
