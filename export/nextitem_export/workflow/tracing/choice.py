"""One of several values for each row: np.where() and its like, isin() and map()."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.wire import NULL_INT64

from ..expressions import Expr, apply, cast, constant, either, lookup, null_of, sorted_keys, where, with_null
from .calendar import fold_of
from .dtypes import expr_dtype, operand, plain_scalar
from .refusals import TracingError

#: isin() of floats compares with one value after the other.
_FLOATS = 64


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


def contained(column: Any, values: list[Any]) -> Any:
    """`column.isin(values)`."""

    def build(_: pd.Series) -> Expr:
        null = null_of(column.expr)
        plain = [plain_scalar(value) for value in values]
        found = _found(column.expr, [value for value in plain if value is not None])
        if null is None:
            return found
        if None in plain:
            return apply("or", "bool", found, null)
        return apply("and", "bool", found, apply("not", "bool", null))

    if column.shadow.dtype.kind in "mM" and any(isinstance(value, (str, int, float)) for value in values):
        raise TracingError("isin() of date-times is compiled with pd.Timestamp values")
    return column.derive(lambda series: series.isin(values), build, column)


def _found(expr: Expr, values: list[Any]) -> Expr:
    if expr.dtype.startswith("float"):
        numbers = sorted({float(value) for value in values if not isinstance(value, str)})
        if len(numbers) > _FLOATS:
            raise TracingError(f"isin() of floats is compiled with {_FLOATS} values at most: make the column integers")
        same = [apply("eq", "bool", expr, constant(number, expr.dtype)) for number in numbers]
        return either(same) or apply("and", "bool", *[apply("ne", "bool", expr, expr)] * 2)
    keys = _keys(values, expr.dtype)
    found = Expr("encode", (expr,), "int64", {"default": 0}, sorted_keys(keys, np.ones(len(keys), np.int64)))
    return cast(found, "bool")


def mapped(column: Any, mapping: Any, na_action: Any) -> Any:
    """`column.map(mapping)`: any function of a calendar field, else a dict."""
    if fold_of(column) is not None:
        return column.derive(lambda series: series.map(mapping, na_action=na_action), _unreachable, column)
    if isinstance(mapping, Mapping) and hasattr(type(mapping), "__missing__"):
        raise TracingError("map() by a dict with a default is not compiled: use a plain dict, and fillna() behind it")
    table = pd.Series(mapping)
    if table.dtype.kind not in "iuf" or table.isna().any():
        raise TracingError("map() is compiled with a dict whose values are numbers: map to 0 and 1, or to the codes")

    def build(_: pd.Series) -> Expr:
        keys = _keys([plain_scalar(key) for key in table.index], column.expr.dtype)
        values = np.array([table.loc[key] for key in keys.tolist()])
        if table.dtype.kind == "f":
            return lookup(with_null(column.expr), keys, values.astype(np.float64), default=float("nan"))
        return lookup(with_null(column.expr), keys, values.astype(np.int64), default=NULL_INT64)

    # Integers that can be null, as everywhere: the dtype is the one without null.
    shadow_table = dict.fromkeys(column.shadow.tolist(), table.iloc[0] if len(table) else np.nan)
    return column.derive(lambda series: series.map(shadow_table), build, column)


def _unreachable(_: pd.Series) -> Expr:
    raise TracingError("map() by a function is compiled for calendar fields alone")


def _keys(values: list[Any], dtype: str) -> np.ndarray:
    if dtype == "string":
        return np.array(sorted({value for value in values if isinstance(value, str) and value}), dtype=object)
    if dtype not in ("int64", "bool"):
        raise TracingError("map() is compiled for text and integers: make the column integers with astype('int64')")
    whole = {int(v) for v in values if not isinstance(v, str) and v == int(v) and int(v) != NULL_INT64}
    return np.array(sorted(whole), dtype=np.int64)
