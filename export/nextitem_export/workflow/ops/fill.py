"""FillMissing and FillMedian: a value in the place of null."""

from __future__ import annotations

from typing import Any

from nvtabular import ops

from ..expressions import Column, Table, apply, cast, constant, null_of, where
from ..registry import Inputs, lowering, refused


@lowering(ops.FillMissing)
def fill_missing(operator: ops.FillMissing, inputs: Inputs) -> Table:
    """The same value in all columns."""
    return _fill(operator, inputs, dict.fromkeys(inputs.names, operator.fill_val))


@lowering(ops.FillMedian)
def fill_median(operator: ops.FillMedian, inputs: Inputs) -> Table:
    """The median of each column in training."""
    return _fill(operator, inputs, operator.medians)


def _fill(operator: Any, inputs: Inputs, values: dict[str, Any]) -> Table:
    filled: Table = {}
    for name, column in inputs.selected.items():
        if column.level == "list":
            raise refused(operator, [name], "pandas fills no null inside lists: fill before the Groupby")
        filled[name] = _filled(column, values[name])
        if operator.add_binary_cols:
            missing = null_of(column.expr) or constant(False, "bool")
            if missing.op == "constant":  # as many values as the column has
                missing = apply("ne", "bool", column.expr, column.expr)
            filled[f"{name}_filled"] = column.becomes(missing, "bool")
    return filled


def _filled(column: Column, value: Any) -> Column:
    null = null_of(column.expr)
    if null is None:
        return column
    expr = column.expr
    # An integer column that has null is float64 in pandas.
    dtype = expr.dtype if expr.dtype == "string" or expr.dtype.startswith("float") or value == int(value) else "float64"
    return column.becomes(
        where(null, constant(value, dtype), cast(expr, dtype)), dtype if dtype != "string" else column.dtype
    )
