"""Clip: values brought into bounds; null stays null."""

from __future__ import annotations

from typing import Any

from nvtabular import ops

from ..expressions import Column, Expr, Table, apply, constant, where
from ..registry import Inputs, lowering, refused


@lowering(ops.Clip)
def lower(operator: ops.Clip, inputs: Inputs) -> Table:
    """NVTabular assigns the bound where a comparison holds, and no comparison holds for null."""
    clipped = {}
    for name, column in inputs.selected.items():
        if column.level == "list":
            raise refused(operator, [name], "pandas cannot compare lists with a bound: clip before the Groupby")
        expr = column.expr
        for bound, comparison in ((operator.min_value, "lt"), (operator.max_value, "gt")):
            if bound is not None:
                expr = _bounded(operator, name, column, expr, bound, comparison)
        clipped[name] = column.becomes(expr, column.dtype)
    return clipped


def _bounded(operator: Any, name: str, column: Column, expr: Expr, bound: float, comparison: str) -> Expr:
    if not column.dtype.startswith("float") and bound != int(bound):
        raise refused(
            operator,
            [name],
            f"with the bound {bound} an integer column gets another dtype by what is in it: clip at a whole number, or "
            "make the column float before",
        )
    limit = constant(bound, expr.dtype)
    return where(apply(comparison, "bool", expr, limit), limit, expr)
