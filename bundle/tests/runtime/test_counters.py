from __future__ import annotations

import numpy as np

from nextitem_bundle.runtime.counters import LENGTHS, Counters, Series
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32


def counts(counters: Counters) -> dict[str, int]:
    return {f"{series.metric}{{{series.label or ''}}}": count for series, count in counters.take().items()}


def test_sessions_and_their_interactions_are_counted_as_read():
    counters = Counters()
    counters.read(np.array([0, 2, 300]), np.array([[0, 0, 0], [3, 2, 0], [9, 1, 5]]))
    found = counts(counters)
    assert found["nextitem_interactions_total{true}"] == 3
    assert found["nextitem_interactions_total{false}"] == 2
    assert found["nextitem_session_length_sum{}"] == 302
    assert found["nextitem_session_length_count{}"] == 3


def test_buckets_of_lengths_hold_all_that_are_no_longer():
    counters = Counters()
    counters.read(np.array([1, 2, 4, 10_000]), np.full((4, 1), 3))
    found = counters.take()
    buckets = [found.get(Series("nextitem_session_length_bucket", str(bound)), 0) for bound in LENGTHS]
    assert buckets[:4] == [1, 2, 2, 3]
    assert set(buckets[4:]) == {3}
    assert found[Series("nextitem_session_length_bucket", "+Inf")] == 4


def test_answers_are_counted_by_status_and_by_what_each_session_is_sent():
    counters = Counters()
    scores = np.array([[0.5, LOWEST_FLOAT32], [0.25, 0.125], [LOWEST_FLOAT32, LOWEST_FLOAT32]], np.float32)
    counters.answered(np.array([["ok"], ["cold"], ["ok"]], dtype=object), scores, np.array([[2], [1], [2]]))
    assert counts(counters) == {
        "nextitem_sessions_total{ok}": 2,
        "nextitem_sessions_total{cold}": 1,
        "nextitem_items_returned_total{}": 2,
    }


def test_what_was_taken_is_not_counted_again():
    counters = Counters()
    counters.refused("busy", 3)
    assert counts(counters) == {"nextitem_requests_refused_total{busy}": 3}
    assert counts(counters) == {}
