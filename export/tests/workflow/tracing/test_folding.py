"""A function of one calendar field is one lookup, in a table that pandas computed."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from nvtabular import ops

from export.tests.support.harness import Harness, fit, interactions, lists
from export.tests.support.traced import check, program_of, traced

TIMES = pd.DataFrame(
    {"x": pd.to_datetime(["1969-12-31 23:59", None, "2000-02-29 12:34:56", "2023-06-11", "2262-04-11"])}
)
DATETIME = {"x": "datetime"}
KEPT_APART = {"input", "window", "take", "valid", "pad", "constant", "order", "is_null"}


def steps(function) -> list[str]:
    """The instructions that compute, without those that bring an interaction into the window."""
    program = program_of(traced(function, DATETIME), "float64", 3)
    return [i.op for i in program.instructions if i.op not in KEPT_APART]


def cycle(column, period):
    return np.sin(2 * np.pi * (column + 0.000001) / period)


@pytest.mark.parametrize(
    "function",
    [
        lambda c: cycle(c.dt.weekday + 1, 7),
        lambda c: np.cos(2 * np.pi * c.dt.hour / 24).astype("float32"),
        lambda c: np.where(c.dt.weekday >= 5, 1, 0),
        lambda c: c.dt.weekday.isin([5, 6]).astype("int64"),
        lambda c: c.dt.month.map({12: 1, 1: 1, 2: 1}).fillna(0),
        lambda c: c.dt.month.map(lambda month: month // 4),
        lambda c: c.dt.weekday.apply(lambda day: 1.0 if day > 4 else 0.0),
        lambda c: (c.dt.quarter - 1) ** 3 // 2,
        lambda c: c.dt.weekday.fillna(-1),
        lambda c: c.dt.weekday.fillna(0.5) * 2,
        lambda c: c.dt.hour.clip(6, 22) / 3,
        lambda c: c.dt.year - 1970,
        lambda c: c.dt.is_month_end,
        lambda c: ~c.dt.is_leap_year,
        lambda c: c.dt.weekday == 3,
        lambda c: c.dt.weekday != 3,
        lambda c: np.log1p(c.dt.dayofyear),
        lambda c: c.dt.second % 0.7,
        lambda c: c.dt.minute / (c.dt.minute - 5),
        lambda c: 60 // c.dt.minute,
    ],
)
def test_it_is_what_pandas_gives_null_included(function):
    check(function, TIMES, DATETIME)


def test_all_of_the_chain_becomes_one_lookup():
    weekday = steps(lambda c: c.dt.weekday)
    assert steps(lambda c: cycle(c.dt.weekday + 1, 7)) == [*weekday[: weekday.index("mod") + 1], "lookup", "where"]


def test_several_fields_of_one_time_are_not_mixed_up():
    check(lambda c: c.dt.weekday * 24 + c.dt.hour, TIMES.dropna(), DATETIME)
    check(lambda c: cycle(c.dt.weekday, 7) + cycle(c.dt.hour, 24), TIMES, DATETIME)
    two = TIMES.dropna().assign(y=pd.Timestamp("2021-07-04 05:06:07"))
    check(lambda c, df: c.dt.weekday - df["y"].dt.weekday, two, {"x": "datetime", "y": "datetime"})


def test_two_functions_of_one_field_are_still_one_lookup():
    def difference(column):
        weekday = column.dt.weekday
        return cycle(weekday, 7) - np.where(weekday > 3, weekday, 0.5)

    assert steps(difference).count("lookup") == 1
    check(difference, TIMES, DATETIME)


def test_the_fold_outlives_operators_between():
    """Over LambdaOps and Renames, as the public examples write it."""
    moment = pd.date_range("1969-12-20 22:30", periods=21, freq="37h")
    frame = interactions([1, 5, 3, 12], moment=moment)
    weekday = ["moment"] >> ops.LambdaOp(lambda c: c.dt.weekday) >> ops.Rename(name="day")
    shifted = weekday >> ops.LambdaOp(lambda c: c + 1) >> ops.Rename(postfix="_one")
    sine = shifted >> ops.LambdaOp(lambda c: cycle(c, 7)) >> ops.Rename(name="sine")
    harness = Harness(fit(lists(weekday + sine, ["day", "sine"]), frame))
    harness.check(frame)
    computed = [instruction.op for instruction in harness.compiled.program.instructions]
    assert computed.count("lookup") == 1
    assert "sin" not in computed
    assert harness.compiled.columns["sine_list"].expr.fold.name[0] == "weekday"


def test_what_is_shared_is_explained_once():
    frame = interactions([3, 4], moment=pd.date_range("2020-02-28", periods=7))

    def chained(column):
        value = column.dt.month.astype("float64") + (column - pd.Timestamp("2020-01-01")).dt.total_seconds()
        for _ in range(15):
            value = np.where(value > 0, value - 1, value + 1) * 0.5 + value
        return value

    node = ["moment"] >> ops.LambdaOp(chained)
    explained = Harness(fit(lists(node, ["moment"]), frame)).compiled.explain("moment_list")
    assert explained.operators[:1] == ("LambdaOp",)
    assert explained.lookups.count("keys") == 2  # the month of the day, and the float of the month
