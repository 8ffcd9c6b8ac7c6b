"""Traced functions equal pandas, value by value."""

from __future__ import annotations

import operator

import numpy as np
import pandas as pd
import pytest

from export.tests.support.traced import check, traced

BIG = 2**60 + 1
FRAMES = {
    "int64": [[-7, -3, -1, 0, 1, 2, 3, 7, 12, 1_000_003, -3 * 10**9], [5, None, -5, 0]],
    "int32": [[-7, 0, 3, 70_000]],
    "float32": [[-2.5, -1.0, -0.5, 0.0, 0.1, 0.5, 1.5, 2.5, 1e-7, 1e6, np.nan]],
    "float64": [[-2.5, -1.0, -0.5, 0.0, 0.125, 0.5, 1.5, 2.5, 2**-20, 1e6, np.nan]],
    "bool": [[True, False, True]],
    "string": [["a", "b", "ø", None, "a"]],
}  # fmt: skip


def frames(dtype):
    return [
        pd.DataFrame({"x": pd.Series(values, dtype=None if _null(values) else _pandas(dtype))})
        for values in FRAMES[dtype]
    ]


def _null(values):
    return any(value is None for value in values)


def _pandas(dtype):
    return {"string": object}.get(dtype, dtype)


def equal(function, *dtypes):
    for dtype in dtypes:
        for frame in frames(dtype):
            check(function, frame, {"x": dtype})


NUMBERS = ["int64", "int32", "float32", "float64"]


@pytest.mark.parametrize("dtype", [*NUMBERS, "bool"])
@pytest.mark.parametrize(
    "function",
    [
        lambda c: c + 1,
        lambda c: 1 + c,
        lambda c: 2 - c,
        lambda c: c * 3,
        lambda c: 3 * c,
        lambda c: c * 0.1,
        lambda c: c / 3,
        lambda c: 3 / (c + 0.25),
        lambda c: np.float64(0.3) * c,
        lambda c: np.int64(2) * c,
        lambda c: c.add(1).mul(2).sub(3).div(4),
        lambda c: c > 0,
        lambda c: operator.lt(0, c),
        lambda c: c <= 0.5,
        lambda c: c == 1,
        lambda c: c != 1,
        lambda c: ~(c >= 1),
        lambda c: (c > 0) & (c < 2),
        lambda c: (c > 2) | (c < -1),
        lambda c: (c > 0) ^ (c > 1),
        lambda c: c * (c >= 0),
        lambda c: np.where(c > 0, c, 0),
        lambda c: np.where(c > 0, c, 0.5),
        lambda c: np.where(c > 0, 1, 0),
        lambda c: np.where(c > 0, 1, np.nan),
        lambda c: np.where(c, 1, 0),
        lambda c: (c > 0).where(c > 1, False),
        lambda c: c.isna(),
        lambda c: pd.isna(c) | c.notnull(),
        lambda c: c.isin([0, 1, 7]),
        lambda c: c.isin([]),
        lambda c: c.astype("float32"),
        lambda c: c.astype("float64") / 7,
        lambda c: c.astype(bool),
        lambda c: abs(c),
        lambda c: -c,
        lambda c: np.logical_and(c > 0, c < 5),
        lambda c: np.logical_not(c > 0),
        lambda c: pd.Series(np.where(c > 0, 2, 1), index=None),
        lambda c: c.pipe(lambda d: d + 1),
        lambda c: c.copy().values + 1,
    ],
)
def test_arithmetic(function, dtype):
    equal(function, dtype)


@pytest.mark.parametrize("dtype", NUMBERS)
@pytest.mark.parametrize(
    "function",
    [
        lambda c: c * c - c,
        lambda c: np.sqrt(np.abs(c)),
        lambda c: np.log1p(np.abs(c)),
        lambda c: np.sin(c) + np.cos(c),
        lambda c: np.tanh(c),
        lambda c: np.exp(-np.abs(c)),
        lambda c: -c,
        lambda c: +c,
        lambda c: c // 3,
        lambda c: c % 3,
        lambda c: c // -3,
        lambda c: c % -3,
        lambda c: c // -1,
        lambda c: c % -1,
        lambda c: c // 0.3,
        lambda c: c % 0.1,
        lambda c: 7 // c,
        lambda c: 7 % c,
        lambda c: c // c,
        lambda c: divmod(c, 4)[1],
        lambda c: c**2,
        lambda c: c**0.5,
        lambda c: c**3,
        lambda c: np.sign(c),
        lambda c: np.floor(c / 2) + np.ceil(c / 2),
        lambda c: np.rint(c),
        lambda c: np.square(c),
        lambda c: np.minimum(c, 2) + np.maximum(c, 1),
        lambda c: np.fmin(c, 2) + np.fmax(1, c),
        lambda c: np.log(c.clip(lower=1)),
        lambda c: np.log2(c.clip(lower=1)) + np.log10(c.clip(1)),
        lambda c: np.isnan(c),
        lambda c: np.isfinite(c / (c - 1)),
        lambda c: c.clip(0, 2),
        lambda c: c.clip(2, 0),
        lambda c: c.clip(upper=1.5),
        lambda c: np.clip(c, 0.5, 2.5),
        lambda c: c.fillna(0),
        lambda c: c.fillna(0.5),
        lambda c: c.fillna(-1).astype("int64") % 5,
        lambda c: c.between(0, 2),
        lambda c: c.round(),
        lambda c: round(c / 3, 2),
        lambda c: np.round(c / 3, 1),
        lambda c: c.where(c > 0),
        lambda c: c.where(c > 0, -1),
        lambda c: c.mask(c > 0, 0.5),
        lambda c: c.apply(np.abs),
    ],
)
def test_numbers(function, dtype):
    equal(function, dtype)


def test_integers_are_exact_and_wrap_as_numpys_do():
    frame = pd.DataFrame({"x": [BIG, -BIG, 2**62, 3]})
    for function in (lambda c: c + 1, lambda c: c - 2 * 10**9, lambda c: c // 7, lambda c: c % 1_000, lambda c: c * 4):
        check(function, frame, {"x": "int64"})
    small = pd.DataFrame({"x": np.array([2**31 - 1, -(2**31), 50_000], dtype=np.int32)})
    for function in (lambda c: c + 1, lambda c: c * c, lambda c: -c, lambda c: c.astype("int64") * c):
        check(function, small, {"x": "int32"})


def test_float32_stays_float32_beside_python_numbers():
    assert traced(lambda c: c * 0.1 + 1, {"x": "float32"}).dtype == np.float32
    assert traced(lambda c: np.float64(0.1) * c, {"x": "float32"}).dtype == np.float32
    assert traced(lambda c: c / 2, {"x": "int64"}).dtype == np.float64
    assert traced(lambda c, df: c * df["y"], {"x": "float32", "y": "int64"}).dtype == np.float64
    # Computed in float32, not only cast to it in the end.
    frame = pd.DataFrame({"x": np.array([1e8, 0.1], dtype=np.float32)})
    column = check(lambda c: (c + 1) - c, frame, {"x": "float32"})
    assert column.expr.dtype == "float32"


COLUMNS = pd.DataFrame(
    {
        "x": [3.0, 5.0, np.nan, -1.0, 0.0],
        "y": np.array([1.5, 0.0, 2.0, np.nan, -3.25], dtype=np.float32),
        "n": [1, 2, 3, 0, -4],
        "b": [True, False, True, False, True],
    }
)
MANY = {"x": "int64", "y": "float32", "n": "int64", "b": "bool"}


@pytest.mark.parametrize(
    "function",
    [
        lambda c, df: c + df["n"],
        lambda c, df: c - df.n,
        lambda c, df: c / df["y"],
        lambda c, df: c * df["b"],
        lambda c, df: c // df["n"],
        lambda c, df: c % df["n"],
        lambda c, df: df["n"] // c,
        lambda c, df: df["n"] // df["b"],
        lambda c, df: df["n"] % df["b"],
        lambda c, df: df["y"] // df["n"],
        lambda c, df: c > df["y"],
        lambda c, df: c != df["n"],
        lambda c, df: np.where(df["b"], c, df["y"]),
        lambda c, df: np.where(c > df["n"], c, df["n"]),
        lambda c, df: np.maximum(c, df["n"]),
        lambda c, df: np.fmax(c, df["y"]),
        lambda c, df: c.fillna(df["n"]),
        lambda c, df: df["y"].fillna(df["n"]),
        lambda c, df: ((df["y"] - c) / (c + 1e-5)) * (c > 0).astype(int),
        lambda c, df: (c >= 0) & df["b"],
        lambda c, df: df["b"] + df["b"],
        lambda c, df: df["b"] * df["b"] * df["n"],
        lambda c, df: df.assign(z=lambda d: d["n"] + 1)["z"],
        lambda c, df: df[["n", "y"]].rename(columns={"n": "z"})["z"] * 2,
        lambda c, df: c.where(df["b"], df["n"]),
    ],
)  # fmt: skip
def test_columns_with_each_other(function):
    check(function, COLUMNS, MANY)


@pytest.mark.parametrize(
    "function",
    [
        lambda c: c == "a",
        lambda c: operator.ne("b", c),
        lambda c: c.isin(["a", "ø", "never"]),
        lambda c: c.isin(["a", None]),
        lambda c: c.isna().astype("int64"),
        lambda c: c.map({"a": 1, "b": 2, "ø": 3}) * 2,
        lambda c: c.map({"a": 0.5}).fillna(-1),
        lambda c: c.fillna("b") == "b",
        lambda c: np.where(c == "a", 1, 0),
        lambda c: (c.where(c != "a", "b")).isin(["b"]),
    ],
)
def test_text(function):
    equal(function, "string")


def test_map_of_integers():
    for mapping in ({-7: 1, 0: 2, 5: 3}, {1: 0.5, 2: 1.5}, {}):
        equal(lambda c, mapping=mapping: c.map(mapping) + 1, "int64")
    equal(lambda c: c.map(pd.Series({5: 50, 0: 1})).fillna(-1), "int64")
    frame = pd.DataFrame({"x": [1, 2, 1]})
    assert check(lambda c: c.map({1: BIG, 2: 5}), frame, {"x": "int64"}).dtype == np.int64


def test_what_becomes_a_float_by_its_values_stays_one():
    frame = pd.DataFrame({"x": [1.0, None, -7.0]})
    for function in (
        lambda c: c.fillna(0.5).fillna(1) * 2,
        lambda c: -c.fillna(0.5),
        lambda c: c.clip(-1.5, 0.5) + 1,
        lambda c: (c // (c - 1)) * 1,
        lambda c: c.where(c > 0, 0.5) // 1,
    ):
        check(function, frame, {"x": "int64"})


def test_null_is_no_divisor_of_zero():
    times = pd.DataFrame({"x": [7.0, 7.0, None], "t": pd.to_datetime([None, "2020-01-01", "2020-01-01 05:00"])})
    check(lambda c, df: c // df["t"].dt.hour, times, {"x": "int64", "t": "datetime"})
    check(lambda c, df: c % df["t"].dt.hour, times, {"x": "int64", "t": "datetime"})


def test_isin_of_floats_and_of_null():
    equal(lambda c: c.isin([0.5, -1, np.nan]), "float32", "float64")
    equal(lambda c: c.isin([5, np.nan]), "int64")
    equal(lambda c: c.isin([2.5, "a", True]), "int64")
