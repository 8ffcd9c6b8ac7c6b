"""What a client does, without the I/O: generators that yield what is to be asked or waited for.

Client and AsyncClient run the same flows (as httpx does with authentication): there is one place
where models are chosen, requests repeated and errors worded.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any, TypeVar, Union

from nextitem_client._exceptions import ServerError
from nextitem_client._retry import Attempts
from nextitem_client._settings import Settings
from nextitem_client._transport import AsyncTransport, Transport

_T = TypeVar("_T")


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
