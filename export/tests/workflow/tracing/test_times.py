"""Traced functions of date-times and durations equal pandas, from its first day to its last."""

from __future__ import annotations

import datetime

import numpy as np
import pandas as pd
import pytest

from export.tests.support.traced import check
from nextitem_export.workflow.expressions import cast, raw
from nextitem_export.workflow.tracing import SymbolicColumn, trace
from nextitem_export.workflow.tracing.dtypes import entering

DAY = np.timedelta64(1, "D")
DATETIME = {"x": "datetime"}
MOMENTS = pd.DataFrame(
    {
        "x": pd.to_datetime(
            [
                "1677-09-21 00:12:44",
                "1969-12-31 23:59:59.999999999",
                "1970-01-01",
                "2000-02-29 12:34:56.789012345",
                None,
                "2020-12-31 23:00:00",
                "2021-01-01 00:00:00",
                "2024-02-29",
                "2262-04-11 23:47:16.854775807",
            ]
        )
    }
)


@pytest.mark.parametrize(
    "function",
    [
        lambda c: c - pd.Timestamp("2020-01-01"),
        lambda c: pd.Timestamp("2020-01-01") - c,
        lambda c: (c - pd.Timestamp("2020-01-01")) / np.timedelta64(1, "D"),
        lambda c: (c - np.datetime64("2020-01-01")) // pd.Timedelta(1, "h"),
        lambda c: (c - pd.Timestamp("2020-01-01")) % DAY,
        lambda c: (c - datetime.datetime(2020, 1, 1)).dt.days,
        lambda c: (c - pd.Timestamp("2020-01-01")).dt.total_seconds(),
        lambda c: (c - pd.Timestamp("2020-01-01")).dt.seconds,
        lambda c: (c - pd.Timestamp("2020-01-01")).dt.microseconds,
        lambda c: abs(c - pd.Timestamp("2020-01-01")) > pd.Timedelta(100, "D"),
        lambda c: (c - pd.Timestamp("2020-01-01")) < datetime.timedelta(days=1),
        lambda c: (c - pd.Timestamp("2020-01-01")).astype("timedelta64[D]"),
        lambda c: (c - pd.Timestamp("2020-01-01")).astype("timedelta64[s]"),
        lambda c: (c - pd.Timestamp("2020-01-01")).astype("int64") // 10**9,
        lambda c: -(c - pd.Timestamp("2020-01-01")),
        lambda c: c.astype("int64") // 10**9,
        lambda c: c.astype("int64") / 10**9,
        lambda c: c.astype("datetime64[s]"),
        lambda c: c >= "2020-01-01",
        lambda c: c == pd.Timestamp("1970-01-01"),
        lambda c: c != pd.Timestamp("1970-01-01"),
        lambda c: c.isna(),
        lambda c: c.isin([pd.Timestamp("1970-01-01"), pd.NaT]),
        lambda c: c.fillna(pd.Timestamp("1999-01-01")).dt.year,
        lambda c: c.where(c > "2000-01-01", pd.Timestamp("2000-01-01")).dt.month,
        lambda c: c.where(c > "2000-01-01"),
        lambda c: pd.to_datetime(c).dt.day,
    ],
)
def test_times(function):
    frame = MOMENTS.iloc[1:-1].reset_index(drop=True)  # differences of the first and last leave int64
    check(function, frame, DATETIME)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns", "D", "h", None])
def test_times_of_integers(unit):
    frame = pd.DataFrame({"x": [-3, 0, 5, 17_000]})
    with_null = pd.DataFrame({"x": [-3.0, None, 5.0]})
    for rows in (frame, with_null):
        check(lambda c: pd.to_datetime(c, unit=unit), rows, {"x": "int64"})
        check(lambda c: pd.to_datetime(c, unit=unit).dt.year + 1, rows, {"x": "int64"})
    if unit in ("s", "ms", "D", "ns"):
        check(lambda c: c.astype(f"datetime64[{unit}]"), frame, {"x": "int64"})


def test_integers_that_pandas_holds_as_floats_because_of_null():
    """As a column with null in training has it: float64 in pandas, integers on the wire."""
    whole = raw("x", "int64")
    column = SymbolicColumn(*entering(cast(whole, "float64"), "float64"))
    made = trace(lambda: pd.to_datetime(column, unit="s"))
    assert made.dtype == np.dtype("datetime64[ns]")
    assert made.expr.args[0] is whole  # no digit is lost in a float


FIELDS = [
    "weekday", "dayofweek", "day_of_week", "hour", "minute", "second", "microsecond", "nanosecond", "year", "month", "day",
    "quarter", "dayofyear", "day_of_year", "week", "weekofyear", "days_in_month", "daysinmonth", "is_month_start",
    "is_month_end", "is_quarter_start", "is_quarter_end", "is_year_start", "is_year_end", "is_leap_year",
]  # fmt: skip


@pytest.mark.parametrize("field", FIELDS)
def test_calendar(field):
    check(lambda c: getattr(c.dt, field), MOMENTS, DATETIME)
    check(lambda c: getattr(c.dt, field) * 2 + 1, MOMENTS, DATETIME)
    check(lambda c: getattr(c.dt, field).isna(), MOMENTS, DATETIME)


@pytest.mark.parametrize("frequency", ["D", "h", "15min", "2D", "s"])
def test_rounding_of_times(frequency):
    frame = MOMENTS.iloc[1:-1].reset_index(drop=True)
    check(lambda c: c.dt.floor(frequency), frame, DATETIME)
    check(lambda c: c.dt.normalize(), frame, DATETIME)


def test_every_day_of_pandas_calendar():
    days = np.arange(-106_751, 106_752)
    frame = pd.DataFrame({"x": (days * 86_400 * 10**9 + 3_600 * 10**9).astype("datetime64[ns]")})
    for field in ("weekday", "month", "day", "year", "dayofyear", "week"):
        check(lambda c, field=field: getattr(c.dt, field), frame, DATETIME)
