"""Sessions a second where each request has as many as one may have."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
import time
from collections.abc import Iterator, Sequence

from benchmarks.load.requests import Answer, Kserve, Session
from benchmarks.serving.checkpoint import K
from benchmarks.serving.reference import Reference
from benchmarks.serving.servers import Running
from nextitem_client import Client

#: Callers that each wait for their answer before they ask again: one request is computed while another is on its way.
CALLERS = 3


def sessions_per_s(server: Running, asked: Sequence[Session], reference: Reference, seconds: float) -> float:
    """Answered sessions a second. Raises WrongAnswerError where the first answer to a request is not the model's."""
    with Client(f"http://127.0.0.1:{server.port}") as client:
        protocol, size = Kserve(client.model, client.signature, K), client.signature.max_sessions_per_request
    starts = range(0, max(len(asked) - size, 0) + 1, size)
    bodies = [protocol.request(asked[start : start + size]) for start in starts]
    for start, request in zip(starts, bodies, strict=True):
        with _connected(server) as connection:
            answers = protocol.answers(_asked(connection, request))
        _check(server, reference, start, answers)
    end, counts = time.perf_counter() + seconds, [0] * CALLERS

    def call(number: int) -> None:
        with _connected(server) as connection:
            for request in itertools.islice(itertools.cycle(bodies), number, None):
                _asked(connection, request)
                if time.perf_counter() > end:
                    return
                counts[number] += min(size, len(asked))

    callers = [threading.Thread(target=call, args=(number,)) for number in range(CALLERS)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    return sum(counts) / seconds


def _check(server: Running, reference: Reference, start: int, answers: Sequence[Answer]) -> None:
    for number, answer in enumerate(answers, start):
        reference.check(server.name, number, answer, K)


@contextlib.contextmanager
def _connected(server: Running) -> Iterator[http.client.HTTPConnection]:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", server.port, timeout=60)) as connection:
        yield connection


def _asked(connection: http.client.HTTPConnection, request: tuple[str, dict[str, str], bytes]) -> bytes:
    path, headers, body = request
    connection.request("POST", path, body, headers)
    answer = connection.getresponse()
    found = answer.read()
    if answer.status != http.HTTPStatus.OK:
        raise RuntimeError(f"{answer.status}: {found[:500].decode(errors='replace')}")
    return found
