"""Dtypes and scalars beside columns: which dtype an expression has for what pandas has, and constants in it."""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, cast, constant
from .refusals import TracingError

#: Rows of a shadow: enough for pandas to work on, and the same for all.
_SHADOWS: dict[str, Any] = {
    "b": [True, False, True],
    "i": [1, 2, 3],
    "u": [1, 2, 3],
    "f": [0.5, 1.5, 2.5],
    "m": [1, 2, 3],
    "M": [10**18, 11 * 10**17, 12 * 10**17],
}


def shadow_of(dtype: str) -> pd.Series:
    """Three rows as pandas has a column of this dtype: `string`, `datetime`, `bool` or numpy's name."""
    if dtype == "string":
        return pd.Series(["a", "b", "c"])
    kind = np.dtype("datetime64[ns]" if dtype == "datetime" else dtype)
    return pd.Series(np.array(_SHADOWS[kind.kind]).astype(kind))


def entering(expr: Expr, dtype: str) -> tuple[Expr, pd.Series]:
    """What a column of this dtype is traced with. Booleans are 0 and 1 on the wire."""
    return cast(expr, "bool") if dtype == "bool" else expr, shadow_of(dtype)


def expr_dtype(shadow: pd.Series) -> str:
    """The dtype of the expression for a column that pandas has in this dtype. Raises TracingError."""
    if isinstance(shadow.dtype, np.dtype):
        kind = shadow.dtype.kind
        if kind in "iumM":
            return "int64"
        if kind == "b":
            return "bool"
        if kind == "f" and shadow.dtype.itemsize in (4, 8):
            return shadow.dtype.name
        if kind == "O" and pd.api.types.infer_dtype(shadow, skipna=True) in ("string", "empty"):
            return "string"
    raise TracingError(
        f"it makes a column of {shadow.dtype}, which is not compiled: stay with integers, float32, float64, booleans, "
        "date-times and strings (astype() says which)"
    )


def operand(value: Any, dtype: str) -> Expr:
    """A column's expression, or a scalar as a constant, in this dtype."""
    expr = getattr(value, "expr", None)
    if isinstance(expr, Expr):
        if (expr.dtype == "string") != (dtype == "string"):
            raise TracingError("it mixes text and numbers in one column: keep them apart")
        return cast(expr, dtype)
    plain = plain_scalar(value)
    if isinstance(plain, str) != (dtype == "string"):
        if isinstance(plain, str) and dtype == "int64":  # pandas reads date-times from text
            return constant(pd.Timestamp(plain).value, "int64")
        if plain is None and dtype == "string":
            return constant("", "string")
        raise TracingError("it mixes text and numbers in one column: keep them apart")
    return constant(plain, dtype)


def plain_scalar(value: Any) -> Any:
    """A scalar as bool, int, float, str or None (null); times in nanoseconds. Raises TracingError for other things."""
    if value is None or value is pd.NaT or value is pd.NA:
        return None
    if isinstance(value, (datetime.timedelta, np.timedelta64)):
        return None if pd.isna(value) else pd.Timedelta(value).value
    if isinstance(value, (datetime.datetime, np.datetime64)):
        return None if pd.isna(value) else pd.Timestamp(value).value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return None if value != value else value
    raise TracingError(f"{type(value).__name__} beside a column is not compiled: use columns and scalars")


def narrowed(expr: Expr, shadow: pd.Series) -> Expr:
    """Integers beyond the dtype that pandas has for the result wrap around, as numpy's do."""
    if expr.dtype != "int64" or shadow.dtype.kind not in "iu" or shadow.dtype.itemsize == 8:
        return expr
    bits = 8 * shadow.dtype.itemsize
    low = -(2 ** (bits - 1)) if shadow.dtype.kind == "i" else 0
    moved = Expr("sub", (expr, constant(low, "int64")), "int64")
    inside = Expr("mod", (moved, constant(2**bits, "int64")), "int64")
    return Expr("add", (inside, constant(low, "int64")), "int64")
