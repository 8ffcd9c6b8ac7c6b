"""The load generator against a small real server whose delay is known."""

import asyncio
import contextlib
import threading

import numpy as np
import pytest

from benchmarks.load.trial import GeneratorFailedError, percentile, run_trial

REQUEST = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\nhello"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nyes"
BUSY = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"


class Echo:
    """Answers each request after `delay_s`, one at a time where `alone`; `answer` gives the bytes by number of the request."""

    def __init__(self, delay_s, answer=lambda number: ANSWER, alone=False):
        self.delay_s, self.answer, self.alone = delay_s, answer, alone
        self.asked, self.connections = 0, 0

    async def _serve(self, reader, writer):
        self.connections += 1
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                assert await reader.readexactly(len(REQUEST)) == REQUEST
                number, self.asked = self.asked, self.asked + 1
                async with self._turn if self.alone else contextlib.nullcontext():
                    await asyncio.sleep(self.delay_s)
                answer = self.answer(number)
                if answer is None:
                    break
                writer.write(answer)
        writer.close()

    async def _run(self, ready):
        self._turn, self._stop = asyncio.Lock(), asyncio.Event()
        self._loop = asyncio.get_running_loop()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._stop.wait()
        server.close()

    def __enter__(self):
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run(ready)))
        self._thread.start()
        assert ready.wait(5)
        return self

    def __exit__(self, *error):
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()


def test_latency_is_the_delay_of_the_server():
    with Echo(0.03) as server:
        trial = run_trial(server.port, [REQUEST], 100, 1.0, seed=1)
    latencies = trial.latencies_ms()
    assert trial.failed == 0
    assert latencies.min() >= 29
    assert 29 <= percentile(latencies, 0.5) < 45  # the server's own timer and a busy machine
    assert percentile(trial.late_ms, 0.5) < 3
    assert 0 < trial.busy_us < 5_000
    assert set(trial.kept.values()) == {b"yes"}


def test_a_server_that_falls_behind_cannot_hide_it():
    # 50 a second are asked of one that answers 25: the last of 50 waits a second, and each request itself takes 40 ms.
    with Echo(0.04, alone=True) as server:
        trial = run_trial(server.port, [REQUEST], 50, 1.0, seed=2, patience_s=3)
    assert trial.failed == 0
    assert trial.latencies_ms().max() > 600
    assert percentile(trial.latencies_ms(), 0.5) > 200


def test_waiting_for_a_connection_counts():
    with Echo(0.04) as server:
        trial = run_trial(server.port, [REQUEST], 50, 1.0, seed=2, connections=1, patience_s=3)
    assert server.connections == 1
    assert trial.latencies_ms().max() > 600
    assert trial.late_ms.max() > 500


def test_what_comes_too_late_is_unanswered():
    with Echo(1.5) as server:
        trial = run_trial(server.port, [REQUEST], 20, 0.3, seed=3, patience_s=0.2)
    assert (trial.status == 0).all()
    assert np.isinf(trial.latencies_ms()).all()


def test_refusals_and_broken_connections_are_failures_and_the_rest_goes_on():
    answers = {3: BUSY, 5: None}  # None: the connection is closed
    with Echo(0.0, answer=lambda number: answers.get(number, ANSWER)) as server:
        trial = run_trial(server.port, [REQUEST], 100, 0.5, seed=4)
    assert sorted(set(trial.status.tolist())) == [-1, 200, 503]
    assert trial.failed == 2
    assert trial.problems == ["the server closed the connection"]


def test_the_generators_own_failure_is_told():
    with Echo(0.0) as server:
        port = server.port
    with pytest.raises(GeneratorFailedError, match="Connection refused"):
        run_trial(port, [REQUEST], 10, 0.1, seed=5)
