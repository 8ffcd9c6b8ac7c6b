"""How many of the requests that wait are taken, so that those which are taken are answered in time."""

from __future__ import annotations

import time
from collections.abc import Callable

#: So many are always taken: fewer say little of what a request costs in a large batch, and of whether the server is busy.
LEAST = 8
#: What the newest batch counts for in the means.
_WEIGHT = 0.2


class LoadShedding:
    """Takes as many requests as leave `max_ms` between one batch and the next, and `max_requests` at most; 0 is no limit.

    A batch takes what its answers take and, for each request that was waiting, what Triton needs to bring it here and to carry
    its answer or refusal away. Both are means of the latest batches. A request waits for the batch that is under way when it
    comes and then for its own, so twice `max_ms` at most.

    warming: whether the latest batch was one of those that are exempt.
    exempt: requests that are all taken at first and tell nothing, as those are by which Triton warms a model up: a model that
    compiles itself is slow then.
    """

    def __init__(
        self, max_requests: int, max_ms: float, exempt: int = 0, clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._max_requests = max_requests
        self._exempt = exempt
        self._max_s = max_ms / 1e3
        self._clock = clock
        self._answer_s = self._carriage_s = 0.0
        self._began = self._ended = clock()
        self.warming = False

    def begin(self, waiting: int) -> int:
        """A batch begins: how many of the waiting requests are to be answered."""
        self._began = self._clock()
        self.warming = self._exempt > 0
        if self.warming:
            self._exempt -= waiting
            return waiting
        taken = min(waiting, self._max_requests) if self._max_requests else waiting
        if waiting < LEAST or not self._max_s:
            return taken
        # They came while the last batch was answered, so nothing has been idle since.
        carriage_s = min(self._began - self._ended, self._max_s)
        self._carriage_s = _mean(self._carriage_s, carriage_s / waiting)
        left_s = self._max_s - waiting * self._carriage_s
        if taken * self._answer_s > left_s:
            return min(taken, max(LEAST, int(left_s / self._answer_s)))
        return taken

    def end(self, taken: int) -> None:
        """The batch's answers are there."""
        self._ended = self._clock()
        if not self.warming and taken >= LEAST:
            self._answer_s = _mean(self._answer_s, (self._ended - self._began) / taken)


def _mean(mean: float, newest: float) -> float:
    return mean + (newest - mean) * (_WEIGHT if mean else 1.0)
