"""`.dt` of date-times and durations.

A calendar field is a leaf: what is computed from one field alone is folded into one table over all of the field's values, which
pandas itself computes at export.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast, constant, lookup, null_of, where
from .dtypes import expr_dtype
from .refusals import TracingError

if TYPE_CHECKING:
    from .column import SymbolicColumn

_SECOND = 10**9
_DAY = 86_400 * _SECOND
#: Every day of datetime64[ns], from 1677 to 2262.
_DAYS = np.arange(-106_752, 106_752)
#: Fields with more values than this are no leaves.
_LARGEST_LEAF = 1_000

#: Length of the unit in nanoseconds, and of what it is counted in.
_WITHIN_DAY = {
    "hour": (3_600 * _SECOND, _DAY),
    "minute": (60 * _SECOND, 3_600 * _SECOND),
    "second": (_SECOND, 60 * _SECOND),
    "microsecond": (1_000, _SECOND),
    "nanosecond": (1, 1_000),
}
_OF_A_DURATION = {"seconds": (_SECOND, _DAY), "microseconds": (1_000, _SECOND), "nanoseconds": (1, 1_000)}
_OF_THE_DAY = {
    "year", "month", "day", "quarter", "dayofyear", "day_of_year", "week", "weekofyear", "days_in_month", "daysinmonth",
    "is_month_start", "is_month_end", "is_quarter_start", "is_quarter_end", "is_year_start", "is_year_end", "is_leap_year",
}  # fmt: skip
_WEEKDAY = {"weekday", "dayofweek", "day_of_week"}
_REMEDIES = {
    "date": "use .dt.normalize(), or .dt.floor('D')",
    "isocalendar": "use .dt.week",
    "round": "add half of the unit and use .dt.floor()",
    "ceil": "add the unit less one nanosecond and use .dt.floor()",
}


class Calendar:
    """`Series.dt` of a symbolic date-time."""

    def __init__(self, column: SymbolicColumn) -> None:
        self._column = column

    def __getattr__(self, name: str) -> SymbolicColumn:
        if name.startswith("__"):
            raise AttributeError(name)
        if name not in {*_WEEKDAY, *_WITHIN_DAY, *_OF_THE_DAY}:
            remedy = _REMEDIES.get(name, "compute it before the workflow and send it as a column")
            raise TracingError(f".dt.{name} is not compiled: {remedy}")
        time = self._column.expr
        shadow = getattr(self._column.shadow.dt, name)
        at_null = getattr(pd.Series([pd.NaT]).dt, name)
        expr, values = _field(name, time)
        if len(values) <= _LARGEST_LEAF:
            expr = leaf(name, time, expr, values, at_null)
        return type(self._column)(expr, shadow)

    def floor(self, freq: str) -> SymbolicColumn:
        """Down to a fixed unit of time."""
        return self._floored(freq, lambda series: series.dt.floor(freq))

    def normalize(self) -> SymbolicColumn:
        """To midnight."""
        return self._floored("D", lambda series: series.dt.normalize())

    def _floored(self, freq: str, function: Any) -> SymbolicColumn:
        unit = _unit(freq)
        whole = apply("floordiv", "int64", self._column.expr, unit)
        return self._column.derive(function, lambda _: apply("mul", "int64", whole, unit), self._column)


class Duration:
    """`Series.dt` of a symbolic duration."""

    def __init__(self, column: SymbolicColumn) -> None:
        self._column = column

    def __getattr__(self, name: str) -> SymbolicColumn:
        if name.startswith("__"):
            raise AttributeError(name)
        time = self._column.expr
        if name == "days":
            part = _days(time)
        elif name in _OF_A_DURATION:
            part = _part(time, *_OF_A_DURATION[name])
        else:
            raise TracingError(f".dt.{name} of a duration is not compiled: use .dt.total_seconds() or .dt.days")
        return self._column.derive(lambda series: getattr(series.dt, name), lambda _: part, self._column)

    def total_seconds(self) -> SymbolicColumn:
        """In float64."""
        seconds = apply("div", "float64", cast(self._column.expr, "float64"), constant(_SECOND, "float64"))
        return self._column.derive(lambda series: series.dt.total_seconds(), lambda _: seconds, self._column)


def _field(name: str, time: Expr) -> tuple[Expr, pd.Series]:
    """A field's expression, an integer, and all of its values as pandas has them."""
    if name in _WEEKDAY:  # 1970-01-01 was a Thursday
        shifted = apply("add", "int64", _days(time), constant(3, "int64"))
        return apply("mod", "int64", shifted, constant(7, "int64")), pd.Series(np.arange(7))
    if name in _WITHIN_DAY:
        unit, whole = _WITHIN_DAY[name]
        return _part(time, unit, whole), pd.Series(
            np.arange(whole // unit if whole // unit <= _LARGEST_LEAF else 1_001)
        )
    table, values = _table(name)
    return lookup(_days(time), _DAYS, table, default=0), values


def _part(time: Expr, unit: int, whole: int) -> Expr:
    inside = apply("mod", "int64", time, constant(whole, "int64"))
    return inside if unit == 1 else apply("floordiv", "int64", inside, constant(unit, "int64"))


def _days(time: Expr) -> Expr:
    return apply("floordiv", "int64", time, constant(_DAY, "int64"))


def _unit(freq: str) -> Expr:
    try:
        return constant(pd.tseries.frequencies.to_offset(freq).nanos, "int64")
    except ValueError:
        raise TracingError(f"the frequency {freq!r} is no fixed time: use days, hours, minutes or seconds") from None


@functools.cache
def _table(name: str) -> tuple[np.ndarray, pd.Series]:
    """The field of every day, and its values. Noon, since the first day begins with the last of its minutes."""
    noons = pd.Series(_DAYS * _DAY + _DAY // 2).astype("datetime64[ns]")
    field = getattr(noons.dt, name)
    return field.to_numpy(np.int64), pd.Series(np.unique(field.to_numpy()))


@dataclasses.dataclass(frozen=True)
class Fold:
    """A function of a leaf: an integer expression that has few values.

    name: what the leaf is, `weekday` … of which time. domain: all values of the leaf, rising. values: the function's
    value at each, as pandas has it. at_null: its value, one row, where the leaf is null; None where pandas fails on null.
    """

    name: tuple[str, int]
    leaf: Expr
    domain: np.ndarray
    values: pd.Series
    at_null: pd.Series | None


@dataclasses.dataclass(frozen=True, eq=False)
class FoldedExpr(Expr):
    """An expression that remembers of which leaf it is a function, for the operators that follow."""

    fold: Fold | None = None


def leaf(name: str, time: Expr, expr: Expr, values: pd.Series, at_null: pd.Series) -> FoldedExpr:
    """The expression of a calendar field of `time`; values: all that the field can be, rising and unique."""
    fold = Fold((name, id(time)), expr, values.to_numpy(np.int64), values, at_null)
    return folded_expr(fold)


def combined(operands: Sequence[Any], function: Callable[..., Any]) -> Fold | None:
    """The fold of `function(*operands)`, where all columns among the operands are functions of one leaf."""
    folds = [fold_of(operand) for operand in operands if hasattr(operand, "expr")]
    first = folds[0] if folds else None
    if first is None or any(fold is None or fold.name != first.name for fold in folds):
        return None
    values = function(*(o.expr.fold.values if hasattr(o, "expr") else o for o in operands))
    return dataclasses.replace(first, values=pd.Series(values), at_null=_at_null(operands, function))


def fold_of(column: Any) -> Fold | None:
    """The fold that a column carries."""
    return getattr(column.expr, "fold", None)


def _at_null(operands: Sequence[Any], function: Callable[..., Any]) -> pd.Series | None:
    rows = [o.expr.fold.at_null if hasattr(o, "expr") else o for o in operands]
    if any(hasattr(o, "expr") and row is None for o, row in zip(operands, rows, strict=True)):
        return None
    try:
        return pd.Series(function(*rows))
    except (TypeError, ValueError):  # integers of NaN
        return None


def folded_expr(fold: Fold) -> FoldedExpr:
    """One lookup on the leaf, with its value for null. Raises TracingError for values that no tensor holds."""
    dtype = expr_dtype(fold.values)
    if dtype == "string" or (fold.values.dtype.kind in "mM" and fold.values.isna().any()):
        raise TracingError("it makes text or missing times of a calendar field: make numbers of it")
    expr = _looked_up(fold, dtype)
    null, missing = null_of(fold.leaf), _scalar(fold.at_null)
    if null is not None and (missing is not None or dtype.startswith("float")):
        if missing is not None and dtype == "int64" and missing != int(missing):
            dtype = "float64"
        expr = where(null, constant(missing, dtype), cast(expr, dtype))
    return FoldedExpr(expr.op, expr.args, expr.dtype, expr.attributes, expr.arrays, fold)


def _looked_up(fold: Fold, dtype: str) -> Expr:
    if fold.values.dtype.kind in "iu" and np.array_equal(fold.values.to_numpy(), fold.domain):
        return fold.leaf
    stored = "int64" if dtype == "bool" else dtype
    found = lookup(fold.leaf, fold.domain, fold.values.to_numpy().astype(stored), default=0)
    return cast(found, dtype)


def _scalar(row: pd.Series | None) -> Any:
    """None for null."""
    if row is None or pd.isna(row.iloc[0]):
        return None
    value = row.iloc[0]
    return value.value if isinstance(value, (pd.Timestamp, pd.Timedelta)) else value
