from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ops

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


@pytest.fixture(scope="module")
def harness() -> Harness:
    return compiled(ops.LogOp())


@asks_nvtabular
@given(frame=drawn(price=FLOATS, cost=FLOATS, number=st.none() | NUMBERS))
def test_values_equal_nvtabulars(harness, frame):
    harness.check(frame)


def test_edges(harness):
    found = harness.one(price=[-1.0, -2.0, None, 0.0], cost=[-1.0, -2.0, None, 0.0], number=[-1, -2, None, 0])
    for values in found.values():
        np.testing.assert_array_equal(values, [-np.inf, np.nan, np.nan, 0])


def test_lists_after_the_groupby():
    workflow = fit(lists(["price", "number"] >> ops.Clip(0), ["price", "number"]) >> ops.LogOp(), FRAME)
    Harness(workflow).check(FRAME)
