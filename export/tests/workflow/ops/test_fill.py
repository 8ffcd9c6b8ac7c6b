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


@pytest.fixture(
    scope="module",
    params=[lambda: ops.FillMissing(0), lambda: ops.FillMissing(-1.5), ops.FillMedian],
    ids=["0", "-1.5", "median"],
)
def harness(request) -> Harness:
    return compiled(request.param(), ["price", "cost"])


@asks_nvtabular
@given(frame=drawn(price=FLOATS, cost=FLOATS))
def test_values_equal_nvtabulars(harness, frame):
    harness.check(frame.assign(price=frame.price.astype(object)))


@pytest.mark.parametrize("make", [lambda: ops.FillMissing(0), ops.FillMedian])
def test_integers_with_null(make):
    harness = compiled(make(), ["number"])
    harness.check(FRAME[["session_id", "timestamp", "position", "number"]])
    filled = harness.one(number=[None, 7, -3])["number_list"]
    assert filled == [0 if make().__class__ is ops.FillMissing else 3, 7, -3]


def test_strings(tmp_path):
    frame = FRAME.assign(word=["a", None, "b", None, "a", "a", None, "c", None])
    encoded = ["word"] >> ops.FillMissing("none") >> ops.Categorify(out_path=str(tmp_path))
    harness = Harness(fit(lists(encoded, ["word"]), frame))
    harness.check(frame)
    assert harness.one(word=[None, "a"])["word_list"] == [3, 4]


def test_columns_that_say_what_was_filled():
    operator = ops.FillMissing(0, add_binary_cols=True)
    names = ["price", "price_filled"]
    frame = FRAME.assign(price=np.array([1, np.nan, 2, np.nan, 1, 1, 1, 1, 1], dtype=np.float32))
    Harness(fit(lists(["price"] >> operator, names), frame)).check(frame)


def test_columns_that_say_what_was_filled_of_integers():
    names = ["number", "number_filled"]
    harness = Harness(fit(lists(["number"] >> ops.FillMissing(0, add_binary_cols=True), names), FRAME))
    assert harness.one(number=[None, 5]) == {"number_list": [0, 5], "number_filled_list": [1, 0]}


def test_lists_are_refused():
    with pytest.raises(UnsupportedWorkflow, match=r"FillMissing on 'prices'.*pandas fills no null inside lists"):
        lower(ops.FillMissing(0), ["prices"])
