from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, asks_nvtabular, drawn, fit, interactions, lists, lower
from nextitem_export import UnsupportedWorkflow

FRAME = interactions([6, 3, 1, 9], number=np.arange(19) - 5, price=np.arange(19) * np.float32(0.5))
NAMES = ["number", "price"]


@pytest.fixture(
    scope="module",
    params=[(-4,), (-2,), (4,), (3, 5), (-3, -1), (0, 2)],
    ids=str,
)
def harness(request) -> Harness:
    sliced = lists(ColumnSelector(NAMES), NAMES, window=None) >> ops.ListSlice(*request.param)
    return Harness(fit(sliced, FRAME))


@asks_nvtabular
@given(frame=drawn(number=st.integers(0, 99), price=st.sampled_from([0.5, 1.0, -2.0])))
def test_slices_equal_pythons(harness, frame):
    harness.check(frame)


def test_padding_is_that_of_the_tensors():
    sliced = lists(ColumnSelector(NAMES), NAMES, window=None) >> ops.ListSlice(-4, pad=True, pad_value=0)
    Harness(fit(sliced, FRAME)).check(FRAME)


def test_a_slice_shorter_than_the_window_leaves_the_rest_empty():
    harness = Harness(fit(lists(ColumnSelector(["number"]), ["number"], window=2), FRAME), window=4)
    assert harness.answers([FRAME.iloc[:6]])["number_list"].tolist() == [[-1, 0, 0, 0]]


def test_slicing_twice_is_refused():
    workflow = fit(lists(ColumnSelector(["number"]), ["number"]) >> ops.ListSlice(-2), FRAME)
    with pytest.raises(UnsupportedWorkflow, match=r"ListSlice on 'number_list'.*sliced already: slice once"):
        Harness(workflow)


def test_columns_that_are_no_lists_are_refused():
    with pytest.raises(
        UnsupportedWorkflow, match=r"ListSlice on 'number'.*no list: group interactions with Groupby before"
    ):
        lower(ops.ListSlice(-4), ["number"], level="interaction")
