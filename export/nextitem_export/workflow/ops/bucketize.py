"""Bucketize: the number of boundaries that a value reaches."""

from __future__ import annotations

import numpy as np
from nvtabular import ops

from ..expressions import Column, Expr, Table
from ..registry import Inputs, lowering, refused
from .normalize import as_float


@lowering(ops.Bucketize)
def lower(operator: ops.Bucketize, inputs: Inputs) -> Table:
    """np.digitize; null falls into the last bin."""
    return {name: _digitized(operator, name, column) for name, column in inputs.selected.items()}


def _digitized(operator: ops.Bucketize, name: str, column: Column) -> Column:
    if column.level == "list":
        raise refused(operator, [name], "np.digitize takes no lists: bucketize before the Groupby")
    boundaries = np.asarray(operator.boundaries(name), dtype=np.float64)
    if (np.diff(boundaries) <= 0).any():
        raise refused(operator, [name], f"its boundaries {boundaries.tolist()} do not rise: sort them")
    value, dtype = as_float(column)
    if dtype == "float32":
        # numpy compares in float64; a float32 that is exact there stays so.
        value = Expr("cast", (value,), "float64")
    found = Expr("bucketize", (value,), "int64", {}, {"boundaries": boundaries})
    return column.becomes(found, np.dtype(operator.output_dtype).name)
