"""`.dt` of date-times and durations: calendar fields are leaves that functions are folded on."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast, constant, lookup
from .folding import leaf
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

    def ceil(self, freq: str) -> SymbolicColumn:
        """Up to a fixed unit of time."""
        time, unit = self._column.expr, _unit(freq)
        upside_down = apply("floordiv", "int64", apply("neg", "int64", time), unit)
        raised = apply("neg", "int64", apply("mul", "int64", upside_down, unit))
        return self._column.derive(lambda series: series.dt.ceil(freq), lambda _: raised, self._column)

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
