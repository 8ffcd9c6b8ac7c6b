"""Ranks and the metrics made of them, against what one counts by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy.ranks import METRICS, metrics_of, ranks_of

SCORES = np.array([[0.5, 0.9, 0.5, 0.1], [0.0, 0.0, 0.0, 0.0], [1.0, -np.inf, 2.0, 3.0]], dtype=np.float32)


def test_of_equal_scores_the_lower_code_comes_first():
    assert ranks_of(SCORES[:1], np.array([0])).tolist() == [2]
    assert ranks_of(SCORES[:1], np.array([2])).tolist() == [3]
    assert ranks_of(SCORES[1:2], np.array([3])).tolist() == [4]


def test_what_the_catalogue_lacks_or_hides_is_missed():
    assert ranks_of(SCORES, np.array([1, -1, 1])).tolist() == [1, math.inf, math.inf]


@given(st.data())
def test_ranks_are_places_in_a_stable_sort(data):
    items = data.draw(st.integers(1, 12))
    scores = np.array(data.draw(st.lists(st.integers(-2, 2), min_size=items, max_size=items)), dtype=np.float64)[None]
    target = data.draw(st.integers(0, items - 1))
    order = sorted(range(items), key=lambda item: (-scores[0, item], item))
    assert ranks_of(scores, np.array([target])).tolist() == [order.index(target) + 1]


def test_metrics_of_ranks_by_hand():
    found = metrics_of(np.array([1, 3, 10, 20, 21, math.inf]))
    assert set(found) == set(METRICS)
    assert found["recall10"] == pytest.approx(3 / 6)
    assert found["recall20"] == pytest.approx(4 / 6)
    assert found["mrr10"] == pytest.approx((1 + 1 / 3 + 1 / 10) / 6)
    assert found["mrr20"] == pytest.approx((1 + 1 / 3 + 1 / 10 + 1 / 20) / 6)
    assert found["ndcg10"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(11)) / 6)
    assert found["ndcg20"] == pytest.approx((1 + 1 / 2 + 1 / math.log2(11) + 1 / math.log2(21)) / 6)
