"""LogOp: log(1 + x) in float32."""

from __future__ import annotations

from nvtabular import ops

from ..expressions import Column, Table, apply, cast, constant
from ..registry import Inputs, lowering


@lowering(ops.LogOp)
def lower(_: ops.LogOp, inputs: Inputs) -> Table:
    """NaN below -1 and for null, negative infinity at -1, as numpy has it."""
    return {name: _log(column) for name, column in inputs.selected.items()}


def _log(column: Column) -> Column:
    shifted = apply("add", "float32", cast(column.expr, "float32"), constant(1, "float32"))
    return column.becomes(apply("log", "float32", shifted), "float32")
