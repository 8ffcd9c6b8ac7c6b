"""How a fitted workflow of one's own would be served, before there is a model: each column's way, or why it has none."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from nextitem_bundle.runtime.signature import Feature

from ._errors import UnsupportedWorkflow
from .options import Columns
from .plan import item_feature_of, model_dtype, no_item_column, refuse_reserved
from .wire import raw_feature
from .workflow.compile import Explained, compile_lowered
from .workflow.fitted import FittedWorkflow
from .workflow.lower import Lowered, check_sources, lower_workflow
from .workflow.registry import Context
from .workflow.schedule import FeatureOutput

#: Interactions of a feature that nothing slices: how it is computed does not depend on them.
_ANY_WINDOW = 20

T = TypeVar("T")


@dataclasses.dataclass(frozen=True)
class Refused:
    """A column that a bundle cannot have: an output of the workflow, or a raw column that it reads.

    Attributes:
        column: the column's name.
        reason: the error that an export would raise.
    """

    column: str
    reason: UnsupportedWorkflow


def explain_workflow(
    workflow: Any,
    *,
    item_column: str = "item_id",
    item_feature: str | None = None,
    features: Sequence[str] | None = None,
    tie_breaker_column: str | None = None,
    raw_dtypes: Mapping[str, str] | None = None,
    keep_workflow_window: bool = False,
) -> list[Explained | Refused]:
    """Say what becomes of each column of a fitted `nvtabular.Workflow` when it is compiled, with all refusals at once.

    Args:
        workflow: the fitted workflow.
        item_column: the raw column of item ids.
        item_feature: the workflow's output with the items' codes. None: found.
        features: the outputs that a model would read. None: all lists.
        tie_breaker_column: a raw column that only makes the sort by time unique and is never sent.
        raw_dtypes: pins raw columns to a type, as for `export_bundle`.
        keep_workflow_window: accept a workflow whose ListSlice keeps the oldest interactions.

    Returns:
        One entry for each column.

    Raises:
        UnsupportedWorkflow: the workflow is not fitted, or has no single session column.
    """
    columns = Columns(item_column, item_feature, features, None, tie_breaker_column, raw_dtypes)
    return explain_columns(workflow, columns, keep_oldest=keep_workflow_window)


def explain_columns(workflow: Any, columns: Columns, *, keep_oldest: bool) -> list[Explained | Refused]:
    """The same; the window plays no part."""
    fitted = FittedWorkflow(workflow)
    explainer = _Explainer(fitted, Context(fitted.session_column, columns.tie_breaker_column), keep_oldest)
    explainer.read_raw(columns.raw_dtypes or {})
    explainer.read_items(columns.item_column, columns.item_feature)
    explainer.explain(list(columns.features or fitted.outputs))
    return explainer.rows


class _Explainer:
    def __init__(self, fitted: FittedWorkflow, context: Context, keep_oldest: bool) -> None:
        self.rows: list[Explained | Refused] = []
        self._fitted = fitted
        self._context = context
        self._keep_oldest = keep_oldest
        self._unsent = (context.session_column, context.tie_breaker_column)
        self._raw: dict[str, Feature] = {}

    def _try(self, column: str, act: Callable[[], T]) -> T | None:
        """What it returns, or None after a row with the reason."""
        try:
            return act()
        except UnsupportedWorkflow as reason:
            self.rows.append(Refused(column, reason))
            return None

    def read_raw(self, pinned: Mapping[str, str]) -> None:
        """The raw columns that a request would carry."""
        for name, dtype in self._fitted.raw_columns.items():
            if name not in self._unsent:
                self._try(name, lambda name=name: refuse_reserved([name]))
                feature = self._try(name, lambda name=name, dtype=dtype: raw_feature(name, pinned.get(name, dtype)))
                if feature is not None:
                    self._raw[name] = feature

    def read_items(self, column: str, feature: str | None) -> None:
        """Whether codes of the items can be turned back into ids."""
        if column in self._fitted.raw_columns:
            self._try(column, lambda: self._fitted.vocabulary(feature or item_feature_of(self._fitted, column)))
        else:
            self.rows.append(Refused(column, no_item_column(self._fitted, column)))

    def explain(self, names: Sequence[str]) -> None:
        """One row for each output."""
        lowered = lower_workflow(
            self._fitted.workflow,
            {name: dtype for name, dtype in self._fitted.raw_columns.items() if name not in self._unsent},
            self._context,
            {name: feature.datatype for name, feature in self._raw.items()},
        )
        for name in names:
            row = self._try(name, lambda name=name: self._explained(lowered, name))
            if row is not None:
                self.rows.append(row)

    def _explained(self, lowered: Lowered, name: str) -> Explained:
        if name not in self._fitted.outputs:
            raise UnsupportedWorkflow(
                f"the workflow does not return '{name}' as lists, it returns {', '.join(self._fitted.outputs)}"
            )
        check_sources(self._fitted.workflow, name, self._context)
        window = self._fitted.window(name, keep_oldest=self._keep_oldest) or _ANY_WINDOW
        output = FeatureOutput(name, "feature", model_dtype(self._fitted, name))
        return compile_lowered(lowered, [output], self._context, window).explain(name)
