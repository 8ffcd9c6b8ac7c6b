"""The highest rate at which a server still keeps a promise, found by short trials."""

from __future__ import annotations

from collections.abc import Callable

#: Rates that are tried: each 6 % above the one before, so that searches for several promises share their trials.
RATES = tuple(round(2 * 1.06**step, 2) for step in range(140))  # up to 6,500 a second


def nearest_step(rate: float) -> int:
    """The step whose rate is the highest that does not exceed `rate`; 0 below the first."""
    return max((step for step, known in enumerate(RATES) if known <= rate), default=0)


def highest_step(keeps: Callable[[int], bool], start: int, stride: int, last: int = len(RATES) - 1) -> int:
    """The highest step at which `keeps` is true, taken to be true up to somewhere and false beyond; -1 if it never is.

    Goes from `start` up or down, twice as far each time, until it has one step that keeps and one that does not; then halves
    the distance between them.
    """
    start = min(max(start, 0), last)
    if keeps(start):
        low, high = start, None
        while high is None and low < last:
            step = min(low + stride, last)
            stride *= 2
            if keeps(step):
                low = step
            else:
                high = step
        if high is None:
            return low
    else:
        low, high = -1, start
        while high > 0:
            step = max(high - stride, 0)
            stride *= 2
            if keeps(step):
                low = step
                break
            high = step
    while high - low > 1:
        middle = (low + high) // 2
        if middle < 0 or keeps(middle):
            low = middle
        else:
            high = middle
    return low
