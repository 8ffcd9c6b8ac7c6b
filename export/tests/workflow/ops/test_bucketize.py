from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ops

from export.tests.support.harness import Harness, asks_nvtabular, drawn, fit, interactions, lists, lower
from nextitem_export import UnsupportedWorkflow

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


BOUNDARIES = {"price": [0.0, 0.5, 8.0], "cost": [-1.0, 0.25], "number": [0, 3, 5]}


@pytest.fixture(scope="module")
def harness() -> Harness:
    return compiled(ops.Bucketize(BOUNDARIES))


@asks_nvtabular
@given(frame=drawn(price=FLOATS, cost=FLOATS, number=NUMBERS))
def test_values_equal_nvtabulars(harness, frame):
    harness.check(frame)


def test_null_falls_into_the_last_bin(harness):
    found = harness.one(price=[None, 0.5], cost=[None, 0.25], number=[None, 3])
    assert found == {"price_list": [3, 2], "cost_list": [2, 2], "number_list": [3, 2]}


@pytest.mark.parametrize("boundaries", [[1.0, 1.0], [3.0, 1.0]])
def test_boundaries_that_do_not_rise_are_refused(boundaries):
    with pytest.raises(UnsupportedWorkflow, match=r"Bucketize on 'price'.*do not rise: sort them"):
        lower(ops.Bucketize({"price": boundaries}), ["price"], level="interaction")


def test_lists_are_refused():
    with pytest.raises(
        UnsupportedWorkflow, match=r"Bucketize on 'prices'.*takes no lists: bucketize before the Groupby"
    ):
        lower(ops.Bucketize({"prices": [1.0]}), ["prices"])
