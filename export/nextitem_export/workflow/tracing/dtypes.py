"""Dtypes and scalars beside columns: which dtype an expression has for what pandas has, constants in it, and what changes it.

The last are astype() and pandas' functions that make times of numbers.
"""

from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.wire import NULL_INT64

from ..expressions import Expr, apply, cast, constant, null_of, where
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
        return None if value != value else pd.Timedelta(value).value
    if isinstance(value, (datetime.datetime, np.datetime64)):
        return None if value != value else pd.Timestamp(value).value
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, (bool, int, float, str)):
        return None if value != value else value
    raise TracingError(f"{type(value).__name__} beside a column is not compiled: use columns and scalars")


def narrowed(expr: Expr, shadow: pd.Series) -> Expr:
    """Integers beyond the dtype that pandas has for the result wrap around, as numpy's do."""
    dtype = shadow.dtype
    assert isinstance(dtype, np.dtype)  # expr_dtype refuses others
    if expr.dtype != "int64" or dtype.kind not in "iu" or dtype.itemsize == 8:
        return expr
    bits = 8 * dtype.itemsize
    low = -(2 ** (bits - 1)) if dtype.kind == "i" else 0
    moved = Expr("sub", (expr, constant(low, "int64")), "int64")
    inside = Expr("mod", (moved, constant(2**bits, "int64")), "int64")
    return Expr("add", (inside, constant(low, "int64")), "int64")


def converted(column: Any, dtype: Any) -> Any:
    """`column.astype(dtype)`."""
    source = column.shadow.dtype
    problem = f"astype({_name(dtype)!r}) of {source} is not compiled: "
    if _is_text(dtype) != (source.kind == "O"):
        raise TracingError(f"{problem}send the column in the type that is wanted")
    try:
        column.shadow.astype(dtype)
    except (TypeError, ValueError) as error:
        raise TracingError(f"{problem}{error}") from None
    return column.derive(lambda series: series.astype(dtype), lambda shadow: _cast(column, dtype, shadow), column)


def _cast(column: Any, dtype: Any, shadow: pd.Series) -> Expr:
    expr, source, target = column.expr, column.shadow.dtype.kind, shadow.dtype.kind
    wanted = expr_dtype(shadow)
    if source in "mM" and target in "iu":  # pandas makes an ordinary number of NaT
        null = null_of(expr)
        return expr if null is None else where(null, constant(NULL_INT64, "int64"), expr)
    if source == "m" and target == "f":
        unit = np.datetime_data(np.dtype(dtype))[0]
        return cast(apply("floordiv", "int64", expr, constant(pd.Timedelta(1, unit).value, "int64")), wanted)
    if target in "mM" and source in "iu":
        unit = np.datetime_data(np.dtype(dtype))[0]
        return apply("mul", "int64", expr, constant(pd.Timedelta(1, _generic(unit)).value, "int64"))
    if wanted == "bool" and expr.dtype != "bool":  # NaN is true
        null = null_of(expr)
        changed = apply("ne", "bool", expr, constant(0, expr.dtype))
        return changed if null is None else apply("or", "bool", changed, null)
    return narrowed(cast(expr, wanted), shadow)


def to_datetime(column: Any, unit: str | None = None, **more: Any) -> Any:
    """pd.to_datetime of integers in a unit, or of date-times."""
    ignored = {"infer_datetime_format", "cache"}
    if more.keys() - ignored and more != {"errors": "raise"}:
        raise TracingError(f"pd.to_datetime({', '.join(more)}=…) is not compiled: parse the column before the workflow")
    if column.shadow.dtype.kind == "M":
        return column
    whole = column.expr if column.shadow.dtype.kind in "iu" else whole_behind(column.expr)
    if whole is None:
        raise TracingError(f"pd.to_datetime() of {column.shadow.dtype} is not compiled: send a date-time or an integer")
    scale = constant(pd.Timedelta(1, unit or "ns").value, "int64")

    def function(series: pd.Series) -> pd.Series:
        return pd.Series(_to_datetime(series, unit=unit))

    return column.derive(function, lambda _: apply("mul", "int64", whole, scale), column)


# Kept, since pandas' own is replaced while a function is traced.
_to_datetime = pd.to_datetime


def whole_behind(expr: Expr) -> Expr | None:
    """The integers that a float expression only casts: pandas' form of an integer column with null."""
    if expr.op == "where" and expr.args[1].op == "constant" and expr.args[1].attributes["value"] is None:
        expr = expr.args[2]
    return expr.args[0] if expr.op == "cast" and expr.args[0].dtype == "int64" else None


def _is_text(dtype: Any) -> bool:
    return dtype in (str, object, "str", "object", "string", "category", "U", "O")


def _generic(unit: str) -> str:
    return "ns" if unit == "generic" else unit


def _name(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
