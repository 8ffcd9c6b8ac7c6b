"""What a client does, without the I/O: generators that yield what is to be asked or waited for.

Client and AsyncClient run the same flows (as httpx does with authentication): there is one place
where models are chosen, requests repeated and errors worded.

A request is sent again where it may succeed a moment later, until the attempts or the time run out: inference changes nothing
on the server, so that every request may be repeated. Waiting grows exponentially with jitter (AWS Architecture Blog,
"Exponential Backoff And Jitter", "equal jitter").
"""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from nextitem_client._exceptions import ServerBusy, ServerError
from nextitem_client._settings import Settings
from nextitem_client._transport import AsyncTransport, Transport

_T = TypeVar("_T")

logger = logging.getLogger(__name__)

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0


@dataclass(frozen=True)
class Call:
    """Call a method of the transport; of an AsyncTransport it returns an awaitable."""

    method: Callable[[Any], Any]


@dataclass(frozen=True)
class Pause:
    """Wait."""

    seconds: float


Flow = Generator[Union[Call, Pause], Any, _T]


def repeated(settings: Settings, ask: Callable[[Any, float], Any]) -> Flow[Any]:
    """`ask(transport, timeout_s)`, again where that may help and the time allows it."""
    attempts = Attempts(settings)
    while True:
        remaining_s = attempts.remaining_s()
        try:
            return (yield Call(lambda transport, limit=remaining_s: ask(transport, limit)))
        except ServerError as error:
            pause = attempts.pause_after(error)
            if pause is None:
                raise attempts.last(error) from None
            logger.debug("asked again in %.2f s: %s", pause, error)
        yield Pause(pause)


def run(flow: Flow[_T], transport: Transport) -> _T:
    """Run a flow to its end, blocking."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                time.sleep(step.seconds)
                step = flow.send(None)
                continue
            try:
                answer = step.method(transport)
            except ServerError as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        return stop.value
    finally:
        flow.close()


async def run_async(flow: Flow[_T], transport: AsyncTransport) -> _T:
    """Run a flow to its end in the running event loop."""
    try:
        step = next(flow)
        while True:
            if isinstance(step, Pause):
                await asyncio.sleep(step.seconds)
                step = flow.send(None)
                continue
            try:
                answer = await step.method(transport)
            except ServerError as error:
                step = flow.throw(error)
            else:
                step = flow.send(answer)
    except StopIteration as stop:
        return stop.value
    finally:
        flow.close()


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
