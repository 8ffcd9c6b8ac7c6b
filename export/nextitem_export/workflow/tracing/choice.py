"""np.where and its like: one of two values for each row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, where
from .promotion import expr_dtype, operand, plain_scalar
from .refusals import TracingError


def choose(condition: Any, yes: Any, no: Any, *, by: Callable[..., Any] = np.where) -> Any:
    """yes where the condition holds, else no, in the dtype that `by`, numpy's or pandas' function, gives it."""
    if not hasattr(condition, "derive"):
        raise TracingError("np.where() is compiled with a condition on columns")
    if condition.shadow.dtype != bool:
        condition = condition.astype(bool)

    if by is not np.where and len({_is_boolean(side) for side in (yes, no)}) == 2:
        raise TracingError(
            "where() and mask() of booleans beside other values make objects of them: use np.where(condition, a, b), or make "
            "the column integers with astype('int64')"
        )

    def build(shadow: pd.Series) -> Expr:
        dtype = expr_dtype(shadow)
        for side in (yes, no):
            plain = None if hasattr(side, "expr") else plain_scalar(side)
            if isinstance(plain, float) and plain != int(plain) and dtype == "int64":
                dtype = "float64"  # the shadow may hold no row of this side
        return where(condition.expr, operand(yes, dtype), operand(no, dtype))

    return condition.derive(by, build, condition, yes, no)


def _is_boolean(side: Any) -> bool:
    return side.shadow.dtype == bool if hasattr(side, "shadow") else isinstance(plain_scalar(side), bool)
