"""The search for the highest rate."""

import itertools

import pytest

from benchmarks.load.rate_search import RATES, highest_step, nearest_step


@pytest.mark.parametrize("start", [0, 5, 70, len(RATES) - 1])
@pytest.mark.parametrize("stride", [1, 4, 12])
def test_every_threshold_is_found_from_every_start(start, stride):
    last = len(RATES) - 1
    for threshold in (-1, 0, 1, 4, 5, 6, 30, last - 1, last):
        tried = []

        def keeps(step, threshold=threshold, tried=tried):
            assert 0 <= step <= last
            tried.append(step)
            return step <= threshold

        assert highest_step(keeps, start, stride) == threshold
        assert len(tried) == len(set(tried)), "a trial takes seconds: none is made twice"


def test_few_trials_are_needed():
    tried = []
    highest_step(lambda step: tried.append(step) or step <= 97, 66, 12)
    assert len(tried) <= 8


def test_a_start_beyond_the_rates_is_the_last():
    assert highest_step(lambda step: True, 10_000, 4) == len(RATES) - 1


@pytest.mark.parametrize(("rate", "expected"), [(2.0, 2.0), (100, 99), (0.5, 2.0), (10**9, RATES[-1])])
def test_the_nearest_rate_does_not_exceed_the_wish(rate, expected):
    assert RATES[nearest_step(rate)] == pytest.approx(expected, rel=0.06)
    assert RATES[nearest_step(rate)] <= max(rate, RATES[0])


def test_rates_rise_by_at_most_seven_percent():
    assert all(1 < later / earlier < 1.08 for earlier, later in itertools.pairwise(RATES))
