"""What cannot be traced is refused in a sentence that says what to do."""

from __future__ import annotations

import math
import random
import threading
import time

import numpy as np
import pandas as pd
import pytest

from export.tests.support.traced import check, table_of, traced
from nextitem_export.workflow.tracing import TracingError, trace

ROWS = "one request's"
MEAN_WELL = "np.where"


def refusal(function, dtype="float64") -> str:
    with pytest.raises(TracingError) as caught:
        traced(function, {"x": dtype, "y": "int64"})
    return str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["min", "max", "sum", "mean", "std", "shift", "rank", "cumsum", "diff", "nunique", "quantile", "any", "ffill", "rolling"],
)  # fmt: skip
def test_what_depends_on_other_rows(name):
    message = refusal(lambda c: c - getattr(c, name)())
    assert f"Series.{name} depends on the other rows" in message
    assert "compute it in training" in message


@pytest.mark.parametrize("function", [np.sum, np.mean, np.cumsum, np.sort, np.diff, np.median, np.nanmean, np.argsort])
def test_numpys_functions_across_rows(function):
    message = refusal(lambda c: c - function(c))
    assert message.startswith(f"np.{function.__name__}()")
    assert "other rows" in message


@pytest.mark.parametrize(
    ("function", "parts"),
    [
        (lambda c: c if c.max() > 0 else -c, ["Series.max", ROWS]),
        (lambda c: c if (c > 0) else -c, ["branches", MEAN_WELL]),
        (lambda c: c if c > 0 and c < 1 else -c, ["branches", MEAN_WELL]),
        (lambda c: max(c, 0), ["branches", MEAN_WELL]),
        (lambda c: 1 if 5 in c else 0, ["branches", MEAN_WELL]),
        (lambda c: [v + 1 for v in c], ["row", "one by one", "arithmetic"]),
        (lambda c: sum(c), ["one by one"]),
        (lambda c: c.apply(lambda v: v + 1), ["Series.apply", "one by one", "arithmetic"]),
        (lambda c: c.map(lambda v: v + 1), ["map()", "dict"]),
        (lambda c: c / len(c), ["len()", ROWS]),
        (lambda c: c + np.random.rand(len(c)), ["len()", ROWS]),
        (lambda c: c + np.random.rand(c.shape[0]), ["Series.shape", ROWS]),
        (lambda c: c + np.random.rand(), ["random numbers", "before the workflow"]),
        (lambda c: c + np.random.randint(2), ["random numbers"]),
        (lambda c: c + random.random(), ["random numbers"]),
        (lambda c: c + np.random.default_rng().random(), ["another result each time"]),
        (lambda c: c * time.perf_counter_ns(), ["another result each time", "send it as a column"]),
        (lambda c: c[c > 0], ["picks rows", MEAN_WELL]),
        (lambda c: c.iloc[0], ["picks rows", MEAN_WELL]),
        (lambda c: c.dropna(), ["picks rows"]),
        (lambda c: math.log(c), ["one number of a column", "numpy's"]),
        (lambda c: np.asarray(c) + 1, ["array of its own", "use the column itself"]),
        (lambda c: pd.concat([c, c]), ["a function of pandas that is not compiled", "arithmetic"]),
        (lambda c: pd.cut(c, [0, 1]), ["array of its own"]),
        (lambda c: c.fillna(method="ffill"), ["Series.ffill", ROWS]),
        (lambda c: c.fillna(c.mean()), ["Series.mean", ROWS]),
        (lambda c: c.astype(str), ["astype('str')", "send the column"]),
        (lambda c: c.astype("category"), ["astype('category')", "send the column"]),
        (lambda c: c.astype("float16"), ["float16"]),
        (lambda c: c.str.len(), ["Series.str", "send it"]),
        (lambda c: c.dt.weekday, [".dt of float64", "pd.to_datetime()"]),
        (lambda c: pd.to_datetime(c, unit="s"), ["pd.to_datetime() of float64", "an integer"]),
        (lambda c: np.convolve(c, [1, 2]), ["np.convolve()", "send it"]),
        (lambda c: np.arcsin(c), ["np.arcsin()", "send it"]),
        (lambda c: np.add.reduce(c), ["np.add.reduce()", ROWS]),
        (lambda c: np.add(c, 1, where=True), ["np.add(where=…)"]),
        (lambda c: c - [1, 2, 3], ["list beside a column", "scalars"]),
        (lambda c: c.nonsense, ["Series.nonsense", "send it"]),
        (lambda c: 1 // 0, ["ZeroDivisionError", "ExportOptions(features='nvtabular')"]),
        (lambda c: c.clip(lower=c), ["np.minimum()"]),
        (lambda c: c.map({1: "a"}), ["values are numbers"]),
        (lambda c: c.astype("int64") & 1, ["not boolean"]),
        (lambda c: np.where(c > 0, "a", 1), ["text and numbers"]),
        (lambda c: c.isin(range(100)), ["64 values at most"]),
        (lambda c, df: df["z"] + c, ["'z'", "dependency"]),
        (lambda c, df: df[df["y"] > 0]["y"], ["picks rows"]),
        (lambda c, df: c / len(df), ["len()", ROWS]),
        (lambda c, df: c / df.shape[0], ["DataFrame.shape", ROWS]),
        (lambda c, df: df.groupby("y").x.transform("mean"), ["DataFrame.groupby", "dependencies"]),
        (lambda c, df: df.assign(w=1)["w"], ["sets 'w' to int", "from columns"]),
        (lambda c, df: pd.DataFrame({"a": c, "b": 1}), ["sets 'b' to int"]),
        (lambda c, df: c.astype("int64") ** df["y"], ["powers", "float64"]),
    ],
)
def test_what_is_refused_and_the_remedy(function, parts):
    message = refusal(function)
    for part in parts:
        assert part in message


@pytest.mark.parametrize(
    ("function", "dtype", "parts"),
    [
        (lambda c: c + "x", "string", ["==", "before the workflow"]),
        (lambda c: c < "b", "string", ["=="]),
        (lambda c: c.str.upper(), "string", ["Series.str", "before the workflow"]),
        (lambda c: c.astype("int64"), "string", ["astype('int64') of object", "send the column"]),
        (lambda c: pd.to_datetime(c), "string", ["pd.to_datetime() of object"]),
        (lambda c: (c - c.min()).dt.days + 1, "datetime", ["Series.min", ROWS]),
        (lambda c: c - pd.Timestamp.now(), "datetime", ["another result each time"]),
        (lambda c: c + pd.DateOffset(months=1), "datetime", ["DateOffset"]),
        (lambda c: c.dt.date, "datetime", [".dt.date", ".dt.normalize()"]),
        (lambda c: c.dt.isocalendar().week, "datetime", [".dt.isocalendar", ".dt.week"]),
        (lambda c: c.dt.strftime("%Y"), "datetime", [".dt.strftime", "before the workflow"]),
        (lambda c: c.dt.floor("M"), "datetime", ["'M'", "no fixed time"]),
        (lambda c: (c - c).dt.components, "datetime", [".dt.components", "total_seconds()"]),
        (lambda c: (c - c) * 3, "datetime", ["duration", "total_seconds()"]),
        (lambda c: (c - c) / 3, "datetime", ["duration", "total_seconds()"]),
        (lambda c: c.dt.ceil("h"), "datetime", [".dt.ceil", ".dt.floor()"]),
        (lambda c: pd.to_timedelta(c, unit="h"), "int64", ["a function of pandas", "not compiled"]),
        (lambda c: pd.to_datetime(c, format="%Y"), "int64", ["pd.to_datetime(format=…)"]),
        (lambda c: c.dt.weekday.map({0: "mon"}), "datetime", ["text"]),
        (lambda c: c.dt.weekday.astype(str), "datetime", ["astype('str')"]),
        (lambda c: c.dt.weekday.sum(), "datetime", ["Series.sum"]),
        (lambda c: c.isin(["2020-01-01"]), "datetime", ["pd.Timestamp"]),
        (lambda c: c.round(-1), "int64", ["round(-1)", "float64"]),
        (lambda c: 2**c, "int64", ["powers", "float64"]),
        (lambda c: ~c, "int64", ["not boolean"]),
        (lambda c: c - c, "bool", ["TypeError", "boolean subtract"]),
        (lambda c: c.mean(), "bool", ["Series.mean"]),
        (lambda c: c.where(c).fillna(3), "bool", ["objects", "np.where"]),
        (lambda c: (c > 0).mask(c > 1, -1), "int64", ["objects", "astype('int64')"]),
    ],
)
def test_what_is_refused_by_dtype(function, dtype, parts):
    message = refusal(function, dtype)
    for part in parts:
        assert part in message


def test_pandas_is_put_back_whatever_happens():
    originals = (pd.to_datetime, pd.Series, pd.DataFrame, pd.isna)
    refusal(lambda c: c.min())
    traced(lambda c: pd.isna(c), {"x": "float64"})
    with pytest.raises(KeyboardInterrupt):
        trace(_interrupted)
    assert (pd.to_datetime, pd.Series, pd.DataFrame, pd.isna) == originals


def _interrupted():
    raise KeyboardInterrupt


def test_pandas_works_as_ever_while_a_function_is_traced():
    def function(column):
        assert isinstance(column, pd.Series)
        frame = pd.DataFrame({"a": [1, 2]})
        assert isinstance(frame, pd.DataFrame)
        assert not isinstance(frame, pd.Series)
        assert pd.to_datetime("2020-01-01") == pd.Timestamp(2020, 1, 1)
        assert pd.isna(np.nan)
        mean = float(pd.Series([1.0, 3.0]).mean())
        return column - mean

    check(function, pd.DataFrame({"x": [1.0, 2.0]}), {"x": "float64"})


def test_the_state_of_random_generators_is_put_back():
    np.random.seed(5)
    random.seed(5)
    due = np.random.random(), random.random()
    np.random.seed(5)
    random.seed(5)
    refusal(lambda c: c + np.random.random() + random.random())
    assert (np.random.random(), random.random()) == due


def test_a_function_is_called_twice_and_no_more():
    calls = []
    traced(lambda c: calls.append(c) or c + 1, {"x": "float64"})
    assert len(calls) == 2


def test_threads_trace_one_after_the_other():
    original, failures = pd.to_datetime, []

    def work():
        try:
            for _ in range(20):
                traced(lambda c: pd.to_datetime(c, unit="s").dt.hour, {"x": "int64"})
        except Exception as error:  # noqa: BLE001  told to the test's own thread
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert pd.to_datetime is original


def test_long_chains_take_no_exponential_time():
    def function(column):
        for _ in range(15):
            column = np.where(column > 0, column - 1, column + 1) * 0.5 + column.clip(-9, 9)
        return column

    started = time.perf_counter()
    check(function, pd.DataFrame({"x": [-3.0, 0.0, 4.5]}), {"x": "float64"})
    check(lambda c: function(c.fillna(0)).astype("int64"), pd.DataFrame({"x": [3, 5]}), {"x": "int64"})
    assert time.perf_counter() - started < 20


def test_the_table_knows_what_a_table_knows():
    table = table_of({"x": "int64", "y": "int64"})
    assert list(table) == table.columns == table.keys() == ["x", "y"]
    assert "x" in table
    assert table.get("z") is None
    assert table.drop(columns=["x"]).columns == ["y"]
    del table["x"]
    assert table.columns == ["y"]
