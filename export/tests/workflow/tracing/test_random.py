"""Random expressions of several columns equal pandas, on random rows with and without null."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from export.tests.support.traced import check

DTYPES = {"x": "float64", "n": "int64", "f": "float32", "t": "datetime", "i": "int32"}

COLUMNS = ["x", "d['n']", "d['f']", "d['i']", "d['t'].dt.hour", "d['t'].dt.weekday"]
CONSTANTS = ["0", "1", "2", "-3", "0.5", "-1.25", "7", "1e9"]
UNARY = [
    "(-{})", "abs({})", "{}.fillna(1)", "{}.fillna(0.5)", "{}.isna().astype('int64')", "{}.clip(-2, 3)", "{}.clip(-1.5, 2.5)",
    "{}.astype('float32')", "{}.astype('float64')", "{}.round(1)", "{}.isin([0, 1, 3.0]).astype('int64')", "np.sign({})",
    "np.floor({})", "{}.astype(bool).astype('int64')", "{}.where({} > 0)", "{}.mask({} > 1, -1)", "{} ** 2", "np.isnan({}) * 2",
    "{}.between(0, 2) * 1", "np.sqrt(np.abs({}))", "({} > 0) * 3", "pd.Series(np.where({} > 0, {}, 0.5))",
]  # fmt: skip
# Not among them: powers of remainders, and division by floats, whose zeros have another sign in ONNX.
BINARY = [
    "({} + {})", "({} - {})", "({} * {})", "({} % 3 + {})", "({} // 7 - {})", "({} > {}) * 1", "({} <= {}) * 2",
    "({} != {}) * 1",
    "(({} > 0) & ({} < 2)) * 1", "(({} > 0) | ({} < 1)) * 5", "np.maximum({}, {})", "np.fmin({}, {})",
    "({} // ({}).fillna(1).clip(1, 9).astype('int64'))", "({} / (abs({}) + 1))",
]  # fmt: skip

EXPRESSIONS = st.recursive(
    st.sampled_from(COLUMNS),
    lambda inner: st.one_of(
        st.builds(lambda form, a: "(" + form.replace("{}", a) + ")", st.sampled_from(UNARY), inner),
        st.builds(lambda form, a, b: f"({form.format(a, b)})", st.sampled_from(BINARY), inner, inner),
        st.builds(
            lambda form, a, b: f"({form.format(a, b)})", st.sampled_from(BINARY[:8]), inner, st.sampled_from(CONSTANTS)
        ),
    ),
    max_leaves=6,
)


def rows(seed: int, *, null: bool) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    count = 12
    frame = pd.DataFrame(
        {
            "x": random.choice([-2.5, -1, -0.5, 0, 0.25, 1, 1.5, 3, 100], count),
            "n": random.integers(-4, 6, count),
            "f": random.choice(np.array([-2.5, -1, 0, 0.5, 1.5, 3, 0.125], np.float32), count),
            "t": pd.to_datetime(random.integers(-(10**9), 2 * 10**9, count), unit="s"),
            "i": random.integers(-3, 4, count).astype(np.int32),
        }
    )
    if null:
        for name in ("x", "n", "f", "t"):
            frame[name] = frame[name].mask(random.random(count) < 0.25)
    return frame.astype({"f": np.float32})


def holds(source: str, seed: int, *, null: bool) -> None:
    # A name of the pandas module, not pandas' own, so that what is replaced while tracing is found.
    function = eval(f"lambda x, d: {source}", {"np": np, "pd": pd})
    with np.errstate(all="ignore"):
        # float32 squares differ by a last bit between numpy's scalar and array forms.
        check(function, rows(seed, null=null), DTYPES, rtol=1e-6)


GENEROUS = {"suppress_health_check": list(HealthCheck)}


@settings(max_examples=80, derandomize=True, **GENEROUS)
@given(EXPRESSIONS, st.integers(0, 2**20), st.booleans())
def test_random_expressions(source, seed, null):
    holds(source, seed, null=null)


@pytest.mark.slow
@settings(max_examples=5_000, **GENEROUS)
@given(EXPRESSIONS, st.integers(0, 2**20), st.booleans())
def test_many_random_expressions(source, seed, null):
    """Other ones each time. Takes about three minutes."""
    holds(source, seed, null=null)
