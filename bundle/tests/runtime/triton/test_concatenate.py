from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from bundle.tests.support.requests import SIGNATURE as SMALL
from bundle.tests.support.requests import request
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.request import read_request
from nextitem_bundle.runtime.triton.concatenate import batch_key, concatenated

SIGNATURE = dataclasses.replace(SMALL, max_interactions_per_session=1_000)


def int32(*values: int) -> np.ndarray:
    return np.array([[value] for value in values], dtype=np.int32)


def ids(rows: int, width: int) -> np.ndarray:
    return np.full((rows, width), b"x", dtype=object)


def joined(one, other) -> bool:
    kinds = [batch_key(each, SIGNATURE, 2) for each in (one, other)]
    return kinds[0] is not None and kinds[0] == kinds[1]


@given(
    st.lists(
        st.tuples(st.integers(1, 3), st.integers(1, 6), st.randoms(use_true_random=False)), min_size=1, max_size=5
    ),
    st.booleans(),
)
def test_joined_requests_are_one_below_the_other(drawn, with_lengths):
    requests = []
    for rows, width, random in drawn:
        items = np.array([[random.choice("abc").encode() for _ in range(width)] for _ in range(rows)], dtype=object)
        lengths = int32(*(random.randint(0, width) for _ in range(rows))) if with_lengths else None
        excluded = ids(rows, random.randint(1, 3))
        requests.append(request(rows, width, item_id=items, session_length=lengths, exclude_item_ids=excluded))
    roomy = dataclasses.replace(SIGNATURE, max_sessions_per_request=100)
    joined = concatenated(requests, SIGNATURE)
    together = read_request(joined, roomy)
    each = [read_request(one, SIGNATURE) for one in requests]
    assert together.lengths.tolist() == [length for one in each for length in one.lengths.tolist()]
    for name in ("item_id", "timestamp", "price"):
        assert together.columns[name].tolist() == [value for one in each for value in one.columns[name].tolist()]
    listed = [[id_ for id_ in row if id_] for row in joined["exclude_item_ids"].tolist()]
    assert listed == [row for one in requests for row in one["exclude_item_ids"].tolist()]


def test_requests_of_other_lengths_are_joined():
    assert joined(request(width=3), request(width=200))
    assert joined(request(exclude_item_ids=ids(2, 1)), request(exclude_item_ids=ids(2, 64)))


def test_long_sessions_and_wide_lists_do_not_widen_those_of_others():
    long = request(width=257)
    assert not joined(long, long)
    assert not joined(request(exclude_item_ids=ids(2, 1)), request(exclude_item_ids=ids(2, 65)))
    assert not joined(request(allow_item_ids=ids(2, 65)), request(allow_item_ids=ids(2, 20_000)))
    assert not joined(request(), request(session_length=int32(1, 2)))


@pytest.mark.parametrize(
    "wrong",
    [
        {"exclude_seen": np.ones((2, 2), bool)},
        {"exclude_item_ids": ids(1, 2)},
        {"session_length": np.ones(2, np.int32)},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_what_has_no_row_for_each_session_is_answered_alone(wrong):
    assert joined(request(exclude_seen=np.ones((2, 1), bool)), request(exclude_seen=np.ones((2, 1), bool)))
    assert not joined(request(**wrong), request(**wrong))
