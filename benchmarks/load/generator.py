"""The load generator, a process of its own: sends prepared requests at prepared times, whatever becomes of earlier ones.

    python -m benchmarks.load.generator FOLDER

FOLDER holds a job as trial.py writes it, and receives `outcome.npz`. The loop is open: a request's time is decided before
the run. Where no connection is free it waits for one, and that wait counts, because latency is measured from the intended time.
"""

from __future__ import annotations

import gc
import json
import select
import socket
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.load.http_answers import AnswerReader, UnreadableAnswerError

#: `status` in the outcome where there is no HTTP status.
UNANSWERED, BROKEN = 0, -1
#: Connections that are there when the run begins; more are opened while none is free.
_OPEN_AT_START = 32


class Connection:
    """One keep-alive connection and the request that is under way on it."""

    __slots__ = ("feed", "number", "recv", "rest", "send", "socket")

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.send, self.recv = self.socket.send, self.socket.recv
        self.feed = AnswerReader().feed
        self.number = -1
        self.rest = b""


class Run:
    """One run over a job's requests. Times are seconds since the run's start, NaN where a thing did not happen."""

    def __init__(self, job: dict[str, Any], requests: list[bytes], intended: np.ndarray, which: np.ndarray) -> None:
        self._address = (job["host"], job["port"])
        self._requests, self._which = requests, which.tolist()
        self._intended = intended.tolist()
        self._last_s = float(intended[-1]) + job["patience_s"]
        count = len(intended)
        self.sent = [float("nan")] * count
        self.done = [float("nan")] * count
        self.status = [UNANSWERED] * count
        self._kept_every, self.kept = max(1, count // job["kept"]), {}
        self.problems: list[str] = []
        self._poll = select.epoll()
        self._open: dict[int, Connection] = {}
        self._most_open = job["connections"]
        # The connection used last is used first, so that a slow trickle of requests keeps to a few.
        self._idle = [self._connect() for _ in range(min(_OPEN_AT_START, self._most_open))]

    def run(self) -> None:
        """Send everything and wait for the answers, `patience_s` beyond the last intended time at most."""
        intended, due, count = self._intended, 0, len(self._intended)
        waiting: deque[int] = deque()
        clock, poll, wait, now = time.perf_counter, self._poll.poll, select.select, 0.0
        watched = [self._poll.fileno()]
        started = clock() + 0.01
        busy = time.process_time()
        while True:
            now = clock() - started
            while due < count and intended[due] <= now:
                waiting.append(due)
                due += 1
            while waiting and (self._idle or len(self._open) < self._most_open):
                connection = self._idle.pop() if self._idle else self._connect()
                self._send(connection, waiting.popleft(), clock() - started)
            if due < count:
                # select's timeout is in microseconds where epoll's is in milliseconds.
                wait(watched, (), (), max(0.0, intended[due] - (clock() - started)))
                events = poll(0)
            elif len(self._idle) == len(self._open) or now > self._last_s:
                break
            else:
                events = poll(0.1)
            for descriptor, event in events:
                self._on(self._open[descriptor], event, clock() - started)
        self.busy_s = time.process_time() - busy
        self.took_s = now

    def _send(self, connection: Connection, number: int, now: float) -> None:
        connection.number = number
        self.sent[number] = now
        request = self._requests[self._which[number]]
        try:
            sent = connection.send(request)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            return self._broken(connection, str(error))
        if sent < len(request):
            connection.rest = request[sent:]
            self._poll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)

    def _on(self, connection: Connection, event: int, now: float) -> None:
        try:
            if event & select.EPOLLOUT and connection.rest:
                connection.rest = connection.rest[connection.send(connection.rest) :]
                if not connection.rest:
                    self._poll.modify(connection.socket, select.EPOLLIN)
            if not event & ~select.EPOLLOUT:
                return
            data = connection.recv(65_536)
            if not data:
                return self._broken(connection, "the server closed the connection")
            answer = connection.feed(data)
        except BlockingIOError:
            return
        except (OSError, UnreadableAnswerError) as error:
            return self._broken(connection, str(error))
        if answer is not None:
            number = connection.number
            self.status[number], body = answer
            self.done[number] = now
            if number % self._kept_every == 0:
                self.kept[number] = body
            self._idle.append(connection)

    def _broken(self, connection: Connection, problem: str) -> None:
        """Count the request as broken and put a new connection in the place of this one."""
        if connection not in self._idle:
            self.status[connection.number] = BROKEN
        else:
            self._idle.remove(connection)
        self.problems.append(problem)
        del self._open[connection.socket.fileno()]
        self._poll.unregister(connection.socket)
        connection.socket.close()
        self._idle.append(self._connect())

    def _connect(self) -> Connection:
        connection = Connection(self._address)
        self._open[connection.socket.fileno()] = connection
        self._poll.register(connection.socket, select.EPOLLIN)
        return connection


def main() -> None:
    """Run the job in the folder that is named on the command line."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text(encoding="utf-8"))
    data, ends = (folder / "requests.bin").read_bytes(), np.load(folder / "ends.npy").tolist()
    requests = [data[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    run = Run(job, requests, np.load(folder / "intended.npy"), np.load(folder / "which.npy"))
    gc.disable()  # a collection in mid-run would be a pause of the generator's, and nothing here makes cycles
    run.run()
    np.savez(folder / "outcome.npz", sent=run.sent, done=run.done, status=run.status)
    answers = {str(number): body.hex() for number, body in run.kept.items()}
    told = {"busy_s": run.busy_s, "took_s": run.took_s, "problems": run.problems[:20], "kept": answers}
    (folder / "told.json").write_text(json.dumps(told), encoding="utf-8")


if __name__ == "__main__":
    main()
