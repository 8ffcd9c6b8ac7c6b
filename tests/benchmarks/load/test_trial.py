"""Arrival times and percentiles of a trial."""

import math

import numpy as np
import pytest

from benchmarks.load.trial import latencies_ms, percentile, poisson_times


def test_arrivals_are_a_poisson_process():
    times = poisson_times(500, 20, np.random.default_rng(0))
    gaps = np.diff(times)
    assert (gaps > 0).all()
    assert times[0] >= 0
    assert times[-1] < 20
    assert len(times) == pytest.approx(10_000, rel=0.05)
    assert gaps.mean() == pytest.approx(1 / 500, rel=0.05)
    assert gaps.std() == pytest.approx(gaps.mean(), rel=0.05)  # of the exponential distribution
    counts = np.bincount((times * 10).astype(int))
    assert counts.var() == pytest.approx(counts.mean(), rel=0.3)  # of a Poisson count


def test_there_is_one_request_at_least():
    assert len(poisson_times(0.001, 0.1, np.random.default_rng(0))) == 1


def test_the_same_seed_gives_the_same_times():
    one, other = (poisson_times(100, 1, np.random.default_rng(3)) for _ in range(2))
    assert (one == other).all()


def test_latency_counts_from_the_intended_time():
    found = latencies_ms(np.array([0.0, 1.0, 2.0]), np.array([0.5, 1.25, 2.125]), np.array([200, 200, 200]))
    assert found.tolist() == [500, 250, 125]


def test_what_was_not_answered_well_took_forever():
    intended, done = np.zeros(4), np.array([0.5, math.nan, 0.5, 0.5])
    assert latencies_ms(intended, done, np.array([200, 0, 503, -1])).tolist() == [500, math.inf, math.inf, math.inf]


def test_the_start_is_left_out_by_intended_time():
    intended, done = np.array([0.1, 0.29, 0.3, 0.5]), np.array([0.2, 0.9, 0.4, 0.6])
    assert latencies_ms(intended, done, np.full(4, 200), skip_s=0.3) == pytest.approx([100, 100])


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.9, 90), (0.99, 99), (0.995, 100), (1, 100), (0.001, 1)])
def test_a_percentile_is_a_latency_that_was_seen(share, expected):
    assert percentile(np.random.default_rng(0).permutation(np.arange(1.0, 101.0)), share) == expected


def test_one_of_a_hundred_unanswered_spoils_the_highest_percentile_only():
    latencies = np.append(np.ones(99), math.inf)
    assert percentile(latencies, 0.99) == 1
    assert percentile(latencies, 0.995) == math.inf


def test_no_request_has_no_percentile():
    with pytest.raises(ValueError, match="no request was counted"):
        percentile(np.array([]), 0.5)
