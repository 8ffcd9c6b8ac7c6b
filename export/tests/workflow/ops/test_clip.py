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


@pytest.fixture(scope="module", params=[(0, 10), (None, 3), (-2, None)], ids=str)
def harness(request) -> Harness:
    return compiled(ops.Clip(*request.param))


@asks_nvtabular
@given(frame=drawn(price=FLOATS, cost=FLOATS, number=NUMBERS))
def test_values_equal_nvtabulars(harness, frame):
    harness.check(frame)


def test_null_stays_null():
    harness = compiled(ops.Clip(0, 10), ["price", "cost"])
    assert np.isnan(harness.one(price=[None, 99], cost=[None, -5])["price_list"][0])
    assert harness.one(price=[None, 99], cost=[None, -5])["cost_list"][1] == 0


def test_fractional_bounds_on_floats():
    compiled(ops.Clip(0.25, 8.5), ["price", "cost"]).check(FRAME)


def test_fractional_bounds_on_integers_are_refused():
    with pytest.raises(
        UnsupportedWorkflow, match=r"Clip on 'number'.*bound 0.5.*dtype by what is in it: clip at a whole"
    ):
        compiled(ops.Clip(0.5), ["number"])


def test_lists_are_refused():
    with pytest.raises(UnsupportedWorkflow, match=r"Clip on 'prices'.*pandas cannot compare lists.*before the Groupby"):
        lower(ops.Clip(0), ["prices"])
