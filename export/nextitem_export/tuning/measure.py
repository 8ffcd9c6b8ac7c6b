"""How fast a server answers a fixed number of callers who each ask again as soon as they are answered."""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import json
import re
import selectors
import socket
import time
from collections.abc import Iterator, Sequence

import numpy as np

from .._errors import ExportError

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_REFUSED = 503
#: A refused caller asks again after this long, as one with retries would: at once would keep the server at refusing.
_PAUSE_S = 0.005
_SILENCE_S = 60.0
_CHUNK = 1 << 16


@dataclasses.dataclass(frozen=True)
class Load:
    """What callers saw within a time. answered: requests. times_ms: of each of them. refused: those too many."""

    answered: int
    refused: int
    duration_s: float
    times_ms: np.ndarray

    @property
    def throughput(self) -> float:
        """Answers per second."""
        return self.answered / self.duration_s

    def percentile_ms(self, share: float) -> float:
        """The time in which this share of answers came, in percent."""
        return float(np.percentile(self.times_ms, share)) if len(self.times_ms) else float("inf")


def ask(
    address: tuple[str, int], requests: Sequence[bytes], *, callers: int, duration_s: float, settle_s: float
) -> Load:
    """Let callers ask these requests in turn, each on a connection of its own, all in this thread.

    requests: whole HTTP requests. settle_s: how long they ask before it counts.
    Raises ExportError if the server answers with anything but an answer or a refusal for its load, or not at all.
    """
    turn = itertools.cycle(requests)
    with contextlib.ExitStack() as open_sockets, selectors.DefaultSelector() as selector:
        for _ in range(callers):
            caller = _Caller(open_sockets.enter_context(socket.create_connection(address, timeout=_SILENCE_S)))
            selector.register(caller.connection, selectors.EVENT_READ, caller)
            caller.send(next(turn))
        return _count(selector, turn, duration_s, settle_s)


class _Caller:
    """One connection with one request under way."""

    def __init__(self, connection: socket.socket) -> None:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.connection = connection
        self._received = bytearray()
        self._whole = 0

    def send(self, request: bytes) -> None:
        self._received.clear()
        self._whole = 0
        self.sent = time.perf_counter()
        self.connection.sendall(request)

    def receive(self) -> bool:
        """Take in what has come; True once the response is whole."""
        chunk = self.connection.recv(_CHUNK)
        if not chunk:
            raise ExportError("the server that was measured closed a connection: its log says why")
        self._received += chunk
        if not self._whole:
            end = self._received.find(b"\r\n\r\n")
            if end < 0:
                return False
            length = _LENGTH.search(self._received, 0, end)
            self._whole = end + 4 + (int(length[1]) if length else 0)
        return len(self._received) >= self._whole

    @property
    def status(self) -> int:
        return int(self._received[9:12])

    @property
    def sentence(self) -> str:
        body = bytes(self._received[self._received.find(b"\r\n\r\n") + 4 :])
        try:
            return json.loads(body)["error"]
        except (ValueError, KeyError, TypeError):
            return repr(body[:200])


def _count(selector: selectors.BaseSelector, turn: Iterator[bytes], duration_s: float, settle_s: float) -> Load:
    begin = time.perf_counter() + settle_s
    end = begin + duration_s
    times: list[float] = []
    refused = 0
    waiting: list[tuple[float, _Caller]] = []  # in the order in which they may ask again
    while (now := time.perf_counter()) < end:
        while waiting and waiting[0][0] <= now:
            waiting.pop(0)[1].send(next(turn))
        ready = selector.select(_PAUSE_S if waiting else _SILENCE_S)
        if not ready and not waiting:
            raise ExportError(f"the server that was measured did not answer within {_SILENCE_S:g} s")
        for key, _ in ready:
            caller: _Caller = key.data
            if not caller.receive():
                continue
            now = time.perf_counter()
            if caller.status == _REFUSED:
                refused += begin <= now
                waiting.append((now + _PAUSE_S, caller))
                continue
            if caller.status != 200:
                raise ExportError(f"the server that was measured refuses a session of the sample: {caller.sentence}")
            if begin <= now <= end:
                times.append(now - caller.sent)
            caller.send(next(turn))
    return Load(len(times), refused, duration_s, np.array(times) * 1e3)
