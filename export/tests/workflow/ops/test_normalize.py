from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, asks_nvtabular, drawn, fit, interactions, lists

FLOATS = st.none() | st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -7.25, 1e30, -1e30, 1e-30, 20.0, np.nan])
NUMBERS = st.sampled_from([0, 1, -1, 3, 20, -400, 10**12, -(10**12)])
FRAME = interactions(
    [4, 3, 2],
    price=np.array([1.5, 0.5, 20, -3, 7, 8, 9, 0, 0.25], dtype=np.float32),
    cost=[1.5, 0.5, 20, -3, 7, 8, 9, 0, 0.25],
    number=[0, 1, 2, 3, 4, 5, -6, 20, 8],
)
NAMES = ["price", "cost", "number"]


def compiled(operator, names=NAMES, **options) -> Harness:
    return Harness(fit(lists(names >> operator, names), FRAME), **options)


@pytest.fixture(
    scope="module",
    params=[
        ops.Normalize,
        ops.NormalizeMinMax,
        lambda: ops.Normalize(out_dtype=np.float32),
        lambda: ops.NormalizeMinMax(out_dtype=np.float32),
    ],
    ids=["Normalize", "NormalizeMinMax", "Normalize to float32", "NormalizeMinMax to float32"],
)
def harness(request) -> Harness:
    return compiled(request.param())


@asks_nvtabular
@given(frame=drawn(price=FLOATS, cost=FLOATS, number=st.none() | NUMBERS))
def test_values_equal_nvtabulars(harness, frame):
    harness.check(frame)


@pytest.mark.parametrize("make", [ops.Normalize, ops.NormalizeMinMax])
def test_a_column_that_is_constant_in_training(make):
    frame = FRAME.assign(price=np.float32(3), cost=3.0, number=3)
    harness = Harness(fit(lists(NAMES >> make(), NAMES), frame))
    harness.check(FRAME)
    harness.check(frame)


def test_a_single_training_row_has_no_deviation():
    frame = interactions([1], price=np.array([3], dtype=np.float32))
    harness = Harness(fit(lists(["price"] >> ops.Normalize(), ["price"]), frame))
    harness.check(FRAME[["session_id", "timestamp", "position", "price"]])


def test_null_stays_null():
    assert np.isnan(compiled(ops.Normalize()).one(price=[None], cost=[None], number=[None])["number_list"][0])


def test_lists_after_the_groupby():
    grouped = lists(ColumnSelector(["price", "number"]), ["price", "number"])
    Harness(fit(grouped >> ops.Normalize(), FRAME)).check(FRAME)
