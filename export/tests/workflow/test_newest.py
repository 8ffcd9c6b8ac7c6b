"""Leaving old interactions out of the graph: where that is allowed, and that no answer tells it."""

from __future__ import annotations

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.features.program import Instruction, Program
from nextitem_bundle.runtime.request import Request
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import Newest, read_step, write_step
from nextitem_bundle.runtime.wire import NULL_INT64
from nextitem_export.graphs.features import compile_plan
from nextitem_export.wire import request_tensors
from nextitem_export.workflow.backend_choice import newest_only


def program(*more: Instruction, start: int = -4, stop: int | None = None) -> Program:
    """Takes a window of `item`, sorted by instruction 2, then whatever more."""
    slices = {"start": start, "stop": stop, "width": 4}
    return Program(
        (
            Instruction("input", (), "int64", {"name": "session_length"}),
            Instruction("input", (), "int64", {"name": "item"}),
            Instruction("input", (), "int64", {"name": "timestamp"}),
            Instruction("order", (0, 2), "int64"),
            Instruction("window", (0,), "int64", slices),
            Instruction("take", (1, 3, 4), "int64"),
            *more,
        ),
        {"codes": 5},
    )


def test_the_shops_features_read_the_window_alone(plan, shop):
    assert newest_only(compile_plan(plan).program) == Newest(shop.WINDOW, "timestamp")


def test_without_a_sort_the_order_of_the_request_counts():
    unsorted = Program(tuple(i for i in program().instructions if i.op != "order"), {})
    assert newest_only(unsorted) == Newest(4)


@pytest.mark.parametrize(
    "other",
    [
        program(start=0, stop=4),
        program(start=-4, stop=-1),
        program(Instruction("within", (1, 0), "bool")),
        program(Instruction("order", (0, 2, 1), "int64")),
        program(Instruction("order", (0, 1), "int64")),
        program(Instruction("neg", (2,), "int64"), Instruction("order", (0, 6), "int64")),
        Program((), {}),
    ],
    ids=["oldest", "not the last", "whole", "two keys", "two orders", "computed", "nothing"],
)
def test_what_reads_more_is_given_all(other):
    assert newest_only(other) == Newest()


@pytest.mark.parametrize(
    ("lengths", "times", "rising"),
    [
        ([2, 2], [1, 1, 0, 5], True),
        ([2, 2], [1, 0, 0, 5], False),
        ([0, 2, 0], [3, 4], True),
        ([0, 2, 0], [4, 3], False),
        ([2], [NULL_INT64, 3], False),
        ([0], [], True),
    ],
)
def test_a_column_rises_where_it_does_in_each_session(lengths, times, rising):
    request = Request(np.array(lengths), np.zeros((1, 1), bool), {"t": np.array(times, dtype=np.int64)}, 1)
    assert request.rising("t") is rising


@pytest.fixture(scope="module")
def whole_and_cut(steps, tmp_path_factory):
    """The shop's features step, and the same without leaving anything out."""
    whole = tmp_path_factory.mktemp("whole") / "step"
    shutil.copytree(steps[0], whole)
    settings = read_step(whole)
    assert settings.newest.window is not None
    write_step(whole, dataclasses.replace(settings, newest=Newest()))
    return open_step(whole), open_step(steps[0])


@given(
    st.lists(st.integers(0, 12), min_size=1, max_size=5),
    st.sampled_from(["rising", "ties", "any", "null"]),
    st.integers(0, 3),
)
def test_no_answer_tells_what_was_left_out(plan, frame, whole_and_cut, lengths, order, extra):
    random = np.random.default_rng(sum(lengths) + extra)
    sessions = []
    for length in lengths:
        rows = frame.sample(length, random_state=int(random.integers(2**31))).reset_index(drop=True)
        times = np.sort(random.integers(0, 3 if order == "ties" else 10**9, length))
        rows["timestamp"] = pd.to_datetime(random.permutation(times) if order in ("any", "null") else times, unit="s")
        if order == "null" and length:
            rows.loc[0, "timestamp"] = pd.NaT
        sessions.append(rows)
    tensors = request_tensors(sessions, plan.raw_features, width=max(1, *lengths, 0) + extra)
    whole, cut = (step.run(tensors) for step in whole_and_cut)
    for name, values in whole.items():
        np.testing.assert_array_equal(cut[name], values)
