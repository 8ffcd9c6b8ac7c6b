"""astype() and pandas' functions that make times of numbers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.wire import NULL_INT64

from ..expressions import Expr, apply, cast, constant, null_of, where
from .promotion import expr_dtype, narrowed
from .refusals import TracingError


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
    return _timed(column, "pd.to_datetime()", unit, lambda series: pd.Series(_to_datetime(series, unit=unit)))


def to_timedelta(column: Any, unit: str | None = None, **more: Any) -> Any:
    """pd.to_timedelta of integers in a unit, or of durations."""
    if more and more != {"errors": "raise"}:
        raise TracingError(f"pd.to_timedelta({', '.join(more)}=…) is not compiled: compute it before the workflow")
    if column.shadow.dtype.kind == "m":
        return column
    return _timed(column, "pd.to_timedelta()", unit, lambda series: pd.Series(_to_timedelta(series, unit=unit)))


# Kept, since pandas' own are replaced while a function is traced.
_to_datetime = pd.to_datetime
_to_timedelta = pd.to_timedelta


def _timed(column: Any, name: str, unit: str | None, function: Any) -> Any:
    whole = column.expr if column.shadow.dtype.kind in "iu" else whole_behind(column.expr)
    if whole is None:
        raise TracingError(f"{name} of {column.shadow.dtype} is not compiled: send a date-time or an integer")
    scale = constant(pd.Timedelta(1, unit or "ns").value, "int64")
    return column.derive(function, lambda _: apply("mul", "int64", whole, scale), column)


def whole_behind(expr: Expr) -> Expr | None:
    """The integers that a float expression only casts: pandas' form of an integer column with null."""
    if expr.op == "where" and expr.args[1].op == "constant" and expr.args[1].settings["value"] is None:
        expr = expr.args[2]
    return expr.args[0] if expr.op == "cast" and expr.args[0].dtype == "int64" else None


def _is_text(dtype: Any) -> bool:
    return dtype in (str, object, "str", "object", "string", "category", "U", "O")


def _generic(unit: str) -> str:
    return "ns" if unit == "generic" else unit


def _name(dtype: Any) -> str:
    return dtype if isinstance(dtype, str) else getattr(dtype, "__name__", str(dtype))
