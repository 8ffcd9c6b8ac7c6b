"""`.dt` of date-times: arithmetic where it is one division, else a table over all days that pandas knows."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, constant
from .column import SymbolicColumn, TracingError, expr_dtype

_SECOND = 10**9
_DAY = 86_400 * _SECOND
#: Every day of datetime64[ns], from 1677 to 2262.
_DAYS = np.arange(-106_751, 106_752)

#: Length of the unit in nanoseconds, and of what it is counted in.
_WITHIN_DAY = {
    "hour": (3_600 * _SECOND, _DAY),
    "minute": (60 * _SECOND, 3_600 * _SECOND),
    "second": (_SECOND, 60 * _SECOND),
    "microsecond": (1_000, _SECOND),
    "nanosecond": (1, 1_000),
}
_OF_THE_DAY = {
    "year", "month", "day", "quarter", "dayofyear", "day_of_year", "days_in_month", "daysinmonth", "is_month_start",
    "is_month_end", "is_quarter_start", "is_quarter_end", "is_year_start", "is_year_end", "is_leap_year",
}  # fmt: skip
_WEEKDAY = {"weekday", "dayofweek", "day_of_week"}


class Calendar:
    """`Series.dt` of a symbolic column."""

    def __init__(self, column: SymbolicColumn) -> None:
        if column.shadow.dtype.kind not in "Mm":
            raise TracingError(f".dt of {column.shadow.dtype}: make it a date-time with pd.to_datetime()")
        self._column = column

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if self._column.shadow.dtype.kind == "m":
            return self._duration(name)
        shadow = getattr(self._column.shadow.dt, name, None)
        time = self._column.expr
        if name in _WEEKDAY:  # 1970-01-01 was a Thursday
            shifted = apply("add", "int64", _days(time), constant(3, "int64"))
            return SymbolicColumn(apply("mod", "int64", shifted, constant(7, "int64")), shadow)
        if name in _WITHIN_DAY:
            unit, whole = _WITHIN_DAY[name]
            inside = apply("mod", "int64", time, constant(whole, "int64"))
            return SymbolicColumn(apply("floordiv", "int64", inside, constant(unit, "int64")), shadow)
        if name in _OF_THE_DAY:
            table = _table(name)
            found = Expr("lookup", (_days(time),), "int64", {"default": 0}, {"keys": _DAYS, "values": table})
            dtype = expr_dtype(shadow)
            return SymbolicColumn(found if dtype == "int64" else apply("cast", dtype, found), shadow)
        raise TracingError(f".dt.{name} is not compiled: compute it before the workflow and send it as a column")

    def _duration(self, name: str) -> Any:
        time, shadow = self._column.expr, self._column.shadow
        if name == "days":
            return SymbolicColumn(_days(time), shadow.dt.days)
        if name == "total_seconds":
            seconds = SymbolicColumn(time, shadow.astype("int64")) / float(_SECOND)
            return lambda: SymbolicColumn(seconds.expr, shadow.dt.total_seconds())
        raise TracingError(f".dt.{name} of a duration is not compiled: use .dt.total_seconds() or .dt.days")

    def floor(self, freq: str) -> SymbolicColumn:
        """To a fixed unit of time."""
        return self._floored(freq, self._column.shadow.dt.floor(freq))

    def normalize(self) -> SymbolicColumn:
        """To midnight."""
        return self._floored("D", self._column.shadow.dt.normalize())

    def _floored(self, freq: str, shadow: pd.Series) -> SymbolicColumn:
        unit = constant(pd.tseries.frequencies.to_offset(freq).nanos, "int64")
        whole = apply("floordiv", "int64", self._column.expr, unit)
        return SymbolicColumn(apply("mul", "int64", whole, unit), shadow)


def to_datetime(column: SymbolicColumn, unit: str | None = None, **more: Any) -> SymbolicColumn:
    """pd.to_datetime of integers in a unit, or of date-times."""
    if more:
        raise TracingError(f"pd.to_datetime({', '.join(more)}=…) is not compiled: parse the column before the workflow")
    if column.shadow.dtype.kind == "M":
        return column
    if column.expr.dtype != "int64":
        raise TracingError(f"pd.to_datetime() of {column.shadow.dtype} is not compiled: send a date-time or an integer")
    nanoseconds = pd.Timedelta(1, unit or "ns").value
    scaled = apply("mul", "int64", column.expr, constant(nanoseconds, "int64"))
    return SymbolicColumn(scaled, pd.to_datetime(column.shadow, unit=unit))


def _days(time: Expr) -> Expr:
    return apply("floordiv", "int64", time, constant(_DAY, "int64"))


@functools.cache
def _table(name: str) -> np.ndarray:
    days = pd.Series(_DAYS.astype("datetime64[D]").astype("datetime64[ns]"))
    return getattr(days.dt, name).to_numpy(np.int64)
