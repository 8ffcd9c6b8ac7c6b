from __future__ import annotations

import numpy as np
import pytest

from nextitem_bundle.runtime.special_ids import PADDING
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export.parity.compare import (
    FEATURE_RELATIVE,
    SCORE_ABSOLUTE,
    TIE,
    approximate_difference,
    feature_difference,
    ranking_difference,
)

#: Three special codes, then items 3 to 7.
TRUE = np.array([LOWEST_FLOAT32] * 3 + [0.5, 2.0, 1.0, 1.0, -3.0], dtype=np.float32)
CODES = np.array([4, 5, 6])


def floats(*values: float) -> np.ndarray:
    return np.array(values, dtype=np.float32)


def test_equal_features_pass():
    assert feature_difference(np.array([3, 4]), np.array([3, 4, 0])) == (0.0, None)
    assert feature_difference(floats(1.5, np.nan), floats(1.5, np.nan, 0)) == (0.0, None)


def test_floats_may_differ_by_their_last_bits():
    worst, fault = feature_difference(floats(1000), floats(1000 * (1 + 0.5 * FEATURE_RELATIVE)))
    assert fault is None
    assert 0 < worst < FEATURE_RELATIVE


@pytest.mark.parametrize(
    ("true", "served", "at"),
    [
        (np.array([3, 4]), np.array([3, 5, 0]), "at interaction 1 NVTabular gives 4, the bundle 5"),
        (np.array([3]), np.array([3, 5, 0]), "at interaction 1 NVTabular gives 0, the bundle 5"),
        (np.array([3, 4]), np.array([0, 3, 4]), "at interaction 0 NVTabular gives 3, the bundle 0"),
        (floats(1), floats(1 + 2 * FEATURE_RELATIVE), "at interaction 0 NVTabular gives 1.0"),
        (floats(np.nan), floats(0), "at interaction 0 NVTabular gives nan, the bundle 0.0"),
        (floats(1), floats(np.nan), "at interaction 0 NVTabular gives 1.0, the bundle nan"),
    ],
)
def test_a_feature_that_differs_is_named_with_both_values(true, served, at):
    _, fault = feature_difference(true, served)
    assert fault is not None
    assert fault.startswith(at)


def test_the_true_ranking_passes():
    assert ranking_difference(TRUE, CODES, TRUE[CODES]) == (0.0, None)


def test_ties_may_stand_in_either_order_but_nothing_else():
    assert ranking_difference(TRUE, np.array([4, 6, 5]), floats(2, 1, 1))[1] is None
    near = TRUE.copy()
    near[6] += 0.5 * TIE
    assert ranking_difference(near, CODES, near[CODES])[1] is None
    near[6] += 2 * TIE
    assert ranking_difference(near, CODES, near[CODES])[1].startswith("at rank 1 code 5 came")


def test_scores_may_differ_within_the_bound():
    worst, fault = ranking_difference(TRUE, CODES, TRUE[CODES] + np.float32(0.5 * SCORE_ABSOLUTE))
    assert fault is None
    assert 0 < worst <= SCORE_ABSOLUTE


def test_fewer_items_than_wanted_are_filled_up():
    codes = np.array([4, 5, 6, 3, 7, PADDING, PADDING])
    scores = np.concatenate([TRUE[codes[:5]], floats(LOWEST_FLOAT32, LOWEST_FLOAT32)])
    assert ranking_difference(TRUE, codes, scores) == (0.0, None)
    scores[-1] = -np.inf
    assert "beyond the 5 items the scores are" in ranking_difference(TRUE, codes, scores)[1]
    assert "expected -3.4028235e+38" in ranking_difference(TRUE, codes, scores)[1]


@pytest.mark.parametrize(
    ("codes", "scores", "fault"),
    [
        ([4, 5, 0], [2, 1, LOWEST_FLOAT32], "2 items came, expected 3"),
        ([4, 5, 6, 3, 7, 2], [2, 1, 1, 0.5, -3, -4], "6 items came, expected 5"),
        ([4, 5, 5], [2, 1, 1], "an item came twice"),
        ([4, 5, 3], [2, 1, 0.5], "at rank 2 code 3 came (true score 0.5), expected code 6 (1)"),
        ([4, 2, 5], [2, 2, 1], "at rank 1 code 2 came (true score -3.402823e+38), expected code 5 (1)"),
        ([4, 5, 6], [2, 1, 1.001], "at rank 2 the score is 1.001, expected 1"),
        ([4, 5, 6], [2, np.nan, 1], "at rank 1 the score is nan, expected 1"),
    ],
)
def test_a_ranking_that_differs_is_named_with_both_values(codes, scores, fault):
    assert ranking_difference(TRUE, np.array(codes), floats(*scores))[1] == fault


def test_an_approximate_ranking_may_miss_an_item_and_nothing_else():
    missing, scores = np.array([4, 6, 3]), floats(2, 1, 0.5)
    assert "at rank 2" in (ranking_difference(TRUE, missing, scores)[1] or "")
    assert approximate_difference(TRUE, missing, scores) == (0.0, None)
    for codes, given, fault in (
        (missing, floats(2, 1, 0.6), "at rank 2 the score is 0.6"),
        (np.array([4, 3, 6]), floats(2, 0.5, 1), "at rank 1 code 3 came"),
        (np.array([4, 4, 6]), floats(2, 2, 1), "an item came twice"),
        (np.array([4, 6, PADDING]), floats(2, 1, LOWEST_FLOAT32), "2 items came, expected 3"),
        (np.array([4, 6, 2]), floats(2, 1, LOWEST_FLOAT32), "came, expected"),
    ):
        assert fault in (approximate_difference(TRUE, codes, given)[1] or "")
