"""V-SkNN against its formula, written down without a thought of speed."""

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy.baselines import Catalogue
from benchmarks.accuracy.sessions import as_rows
from benchmarks.accuracy.vsknn import SCORE_WEIGHTINGS, SIMILARITIES, WEIGHTINGS, Setting, VSkNN

CLICK_WEIGHTS = {
    "same": lambda place, length: 1.0,
    "div": lambda place, length: place / length,
    "linear": lambda place, length: max(0.0, 1 - 0.1 * (length - place)),
    "log": lambda place, length: 1 / math.log10(length - place + 1.7),
    "quadratic": lambda place, length: (place / length) ** 2,
}
STEP_WEIGHTS = {
    "same": lambda step: 1.0,
    "div": lambda step: 1 / step,
    "linear": lambda step: max(0.0, 1 - 0.1 * step),
    "log": lambda step: 1 / math.log10(step + 1.7),
    "quadratic": lambda step: 1 / step**2,
}


def slow_scores(sessions, clicks, setting):
    """{item: score} of what neighbours have."""
    weights = {item: CLICK_WEIGHTS[setting.weighting](place + 1, len(clicks)) for place, item in enumerate(clicks)}
    sharing = [number for number, session in enumerate(sessions) if set(session) & set(clicks)]
    likeness = {}
    for number in sorted(sharing, reverse=True)[: setting.sample_size]:
        shared = set(sessions[number]) & set(clicks)
        likeness[number] = sum(weights[item] for item in sorted(shared))
        if setting.similarity == "cosine":
            likeness[number] /= math.sqrt(len(set(sessions[number])))
    # Rounded, so that what is equal is equal in whatever order it was summed.
    neighbours = sorted(likeness, key=lambda number: (-round(likeness[number], 9), -number))[: setting.k]
    occurrences = [item for session in sessions for item in session]
    scores = {}
    for number in neighbours:
        if likeness[number] <= 0:
            continue
        step = next(step for step, item in enumerate(reversed(clicks), start=1) if item in sessions[number])
        for item in set(sessions[number]):
            idf = math.log(len(sessions) / occurrences.count(item))
            gain = likeness[number] * STEP_WEIGHTS[setting.weighting_score](step) * (1 + setting.idf_weighting * idf)
            scores[item] = scores.get(item, 0.0) + gain
    return scores


ITEMS = st.integers(0, 7)
SETTINGS = st.builds(
    Setting,
    sample_size=st.integers(1, 12),
    k=st.integers(1, 12),
    similarity=st.sampled_from(SIMILARITIES),
    weighting=st.sampled_from(list(WEIGHTINGS)),
    weighting_score=st.sampled_from(list(SCORE_WEIGHTINGS)),
    idf_weighting=st.sampled_from([0.0, 1.0, 5.0]),
)


@given(
    st.lists(st.lists(ITEMS, min_size=1, max_size=6), min_size=1, max_size=12),
    st.lists(st.lists(ITEMS, min_size=1, max_size=14), min_size=1, max_size=3),
    SETTINGS,
)
def test_scores_are_those_of_the_formula(sessions, inputs, setting):
    training = as_rows(sessions)
    catalogue = Catalogue.of(training)
    given_codes = [catalogue.ids.get_indexer(clicks) for clicks in inputs]
    found = VSkNN(training, catalogue).scorer(setting)(given_codes)
    for row, clicks in zip(found, inputs, strict=True):
        wanted = slow_scores(sessions, clicks, setting)
        expected = [wanted.get(item, 0.0) for item in catalogue.ids]
        np.testing.assert_allclose(row, expected, rtol=1e-9, atol=1e-12)


def test_both_formulas_know_every_weighting():
    assert set(CLICK_WEIGHTS) == set(WEIGHTINGS)
    assert set(STEP_WEIGHTS) == set(SCORE_WEIGHTINGS)


def test_an_input_of_unknown_items_has_no_neighbours():
    training = as_rows([[1, 2], [2, 3]])
    catalogue = Catalogue.of(training)
    assert not VSkNN(training, catalogue).scores(np.array([-1, -1]), Setting()).any()


def test_only_the_most_recent_of_the_sessions_that_share_an_item_are_looked_at():
    training = as_rows([[1, 2], [1, 3], [1, 4], [5, 6]])
    catalogue = Catalogue.of(training)
    scores = VSkNN(training, catalogue).scores(catalogue.codes(as_rows([[1]])), Setting(sample_size=2, k=2))
    assert sorted(catalogue.ids[scores > 0]) == [1, 3, 4]
