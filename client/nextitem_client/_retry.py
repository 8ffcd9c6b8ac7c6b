"""When a request is sent again: one that may succeed a moment later, until the attempts or the time run out.

Inference changes nothing on the server, so that every request may be repeated. Waiting grows
exponentially with jitter (AWS Architecture Blog, "Exponential Backoff And Jitter", "equal jitter").
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable

from nextitem_client._exceptions import ServerBusy, ServerError
from nextitem_client._settings import Settings

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


class Attempts:
    """The attempts at one request, `timeout_s` for all of them together; does no I/O and no sleeping."""

    def __init__(
        self,
        settings: Settings,
        clock: Callable[[], float] = time.monotonic,
        chance: Callable[[], float] = random.random,
    ):
        self._settings = settings
        self._clock = clock
        self._chance = chance
        self._start = clock()
        self._failed = 0

    def remaining_s(self) -> float:
        """Seconds until the deadline, never quite 0: an attempt ends by itself."""
        return max(self._start + self._settings.timeout_s - self._clock(), 0.001)

    def pause_after(self, error: ServerError) -> float | None:
        """Seconds to wait before the next attempt; None if there is none."""
        self._failed += 1
        if self._failed > self._settings.retries or not self._may_repeat(error):
            return None
        longest = min(FIRST_PAUSE_S * 2 ** (self._failed - 1), LONGEST_PAUSE_S)
        pause = max(longest * (0.5 + 0.5 * self._chance()), error.retry_after_s or 0.0)
        ends = self._clock() + pause
        return pause if ends < self._start + self._settings.timeout_s else None

    def last(self, error: ServerError) -> ServerError:
        """`error`, which says how often it was tried where that was more than once."""
        if self._failed < 2:
            return error
        seconds = self._clock() - self._start
        told = type(error)(f"{error} Tried {self._failed} times in {seconds:.1f} s.")
        told.retryable, told.retry_after_s = error.retryable, error.retry_after_s
        return told

    def _may_repeat(self, error: ServerError) -> bool:
        if isinstance(error, ServerBusy) and error.retryable is False:
            return self._settings.retry_too_many_requests
        return error.retryable
