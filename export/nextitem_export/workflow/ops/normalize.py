"""Normalize and NormalizeMinMax: numbers brought to a common scale."""

from __future__ import annotations

import numpy as np
from numpy.typing import DTypeLike
from nvtabular import ops

from ..expressions import Column, Expr, Table, apply, cast, constant
from ..registry import Inputs, lowering


@lowering(ops.Normalize)
def normalize(operator: ops.Normalize, inputs: Inputs) -> Table:
    """(x - mean) / std; without the division where std is 0 or NaN."""

    def scaled(name: str, column: Column) -> Column:
        mean, std = operator.means[name], operator.stds[name]
        value, dtype = as_float(column)
        value = apply("sub", dtype, value, constant(mean, dtype))
        if std > 0:
            value = apply("div", dtype, value, constant(std, dtype))
        return _cast_to(column, value, operator.output_dtype)

    return {name: scaled(name, column) for name, column in inputs.selected.items()}


@lowering(ops.NormalizeMinMax)
def normalize_min_max(operator: ops.NormalizeMinMax, inputs: Inputs) -> Table:
    """(x - min) / (max - min), not clipped; x / 2x for a column that was constant in training."""

    def scaled(name: str, column: Column) -> Column:
        low, width = operator.mins[name], operator.maxs[name] - operator.mins[name]
        value, dtype = as_float(column)
        if width > 0:
            moved = apply("sub", dtype, value, constant(low, dtype))
            value = apply("div", dtype, moved, constant(width, dtype))
        else:
            value = apply("div", dtype, value, apply("mul", dtype, constant(2, dtype), value))
        return _cast_to(column, value, operator.output_dtype)

    return {name: scaled(name, column) for name, column in inputs.selected.items()}


def as_float(column: Column) -> tuple[Expr, str]:
    """The column's values in the float dtype that pandas computes in: its own, or float64 for integers."""
    dtype = column.dtype if column.dtype.startswith("float") else "float64"
    return cast(column.expr, dtype), dtype


def _cast_to(column: Column, value: Expr, dtype: DTypeLike) -> Column:
    name = np.dtype(dtype).name
    return column.becomes(cast(value, name), name)
