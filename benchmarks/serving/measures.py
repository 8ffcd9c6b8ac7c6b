"""What is measured of one server: trials at fixed rates, the highest rate for each promise, goodput beyond saturation."""

from __future__ import annotations

import dataclasses
import itertools
import logging
import time
from collections.abc import Sequence

import numpy as np

from benchmarks.load.rate_search import RATES, highest_step, nearest_step
from benchmarks.load.trial import Trial, percentile, run_trial
from benchmarks.serving.checkpoint import K
from benchmarks.serving.reference import Reference
from benchmarks.serving.servers import Running

#: Latency, counted from the intended time, up to which an answer is of use.
GOOD_MS = 50.0
#: Names of promises: the share of requests and the latency in ms that they keep.
PROMISES = {"p99_50ms": (0.99, GOOD_MS), "p90_7ms": (0.90, 7.0)}
SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p995": 0.995}
#: Seconds at a trial's start that are not counted.
SKIP_S = 0.3
#: The longest that a trial of a search may take for the requests that its percentiles should rest on.
LONGEST_TRIAL_S = 6.0
_log = logging.getLogger("serving")
_IDLE_SHARE, _LONGEST_SETTLING_S = 0.1, 15.0
_REFUSED = 503


@dataclasses.dataclass(frozen=True)
class Search:
    """How the highest rates are searched: seconds of a trial and of one that confirms, requests that a trial's percentiles
    rest on at least, and the step (rate_search.RATES) beyond which nothing is tried."""

    trial_s: float
    confirm_s: float
    least_requests: int = 150
    last_step: int = len(RATES) - 1


@dataclasses.dataclass(frozen=True)
class Point:
    """One trial's figures. goodput: good answers a second, as the share of good ones times the rate. late_ms: p99 of the
    generator's delay. memory_mb: right after it. refused_p99_ms: of the refusals, 0 where there is none."""

    rate: float
    latency_ms: dict[str, float]
    cpu_us: float
    generator_us: float
    late_ms: float
    failed_share: float
    goodput: float
    memory_mb: float
    refused_p99_ms: float = 0.0

    def keeps(self, promise: str) -> bool:
        """Whether this trial kept a promise; an unanswered request took forever."""
        share, limit_ms = PROMISES[promise]
        return self.latency_ms[f"p{share * 100:.0f}"] <= limit_ms


class Measuring:
    """Trials of one server, each with other arrival times."""

    def __init__(self, server: Running, requests: Sequence[bytes], reference: Reference | None, seed: int) -> None:
        self.server = server
        self.points: list[Point] = []
        self._requests, self._reference, self._seeds = requests, reference, itertools.count(seed)

    def ask(self, rate: float, duration_s: float) -> Trial:
        """What becomes of requests at this rate. Raises WrongAnswerError where a kept answer is not the model's."""
        run = run_trial(self.server.port, self._requests, rate, duration_s, seed=next(self._seeds))
        if self._reference:
            self._reference.check_kept(self.server.name, run, self.server.protocol, K)
        return run

    def trial(self, rate: float, duration_s: float) -> Point:
        """One trial. Raises WrongAnswerError where a kept answer is not the model's."""
        busy = self.server.busy_us()
        run = self.ask(rate, duration_s + SKIP_S)
        busy = self.server.busy_us() - busy
        latencies = run.latencies_ms(SKIP_S)
        answered = max(int((run.status > 0).sum()), 1)
        point = Point(
            rate,
            {name: percentile(latencies, share) for name, share in SHARES.items()},
            busy / answered,
            run.busy_us,
            float(np.percentile(run.late_ms, 99)),
            run.failed / len(run.intended),
            rate * float((latencies <= GOOD_MS).mean()),
            self.server.memory_mb(),
            _refused_p99_ms(run),
        )
        self.points.append(point)
        _log.info(
            "%s at %.0f/s: p50 %.1f, p90 %.1f, p99 %.1f ms, %.1f %% failed, %.0f µs of the server and %.0f of the generator",
            self.server.name, rate, *(point.latency_ms[name] for name in ("p50", "p90", "p99")),
            100 * point.failed_share, point.cpu_us, point.generator_us,
        )  # fmt: skip
        if not all(map(point.keeps, PROMISES)):
            self._wait_until_idle()
        return point

    def highest_rate(self, promise: str, start: float, stride: int, search: Search) -> float:
        """The highest rate that keeps a promise, confirmed by a longer trial; 0 where no rate keeps it."""
        return self.highest_rates(start, stride, search, [promise])[promise]

    def highest_rates(
        self, start: float, stride: int, search: Search, promises: Sequence[str] = tuple(PROMISES)
    ) -> dict[str, float]:
        """The same for several promises, whose searches share their trials."""
        tried: dict[int, list[Point]] = {}

        def kept(step: int, promise: str) -> bool:
            return self._kept(tried.setdefault(step, []), promise, RATES[step], search.trial_s, search)

        found: dict[str, float] = {}
        at = nearest_step(start)
        for promise in promises:
            at = highest_step(lambda step, p=promise: kept(step, p), at, stride, search.last_step)
            # The shorter a trial the luckier it can be.
            for down in itertools.count(1):
                if at < 0 or self._kept([], promise, RATES[at], search.confirm_s, search):
                    break
                at -= down
            found[promise] = RATES[at] if at >= 0 else 0.0
            stride = 4
        return found

    def _kept(self, tried: list[Point], promise: str, rate: float, duration_s: float, search: Search) -> bool:
        """Whether one of two trials keeps the promise: something else on the machine can spoil one's tail.

        tried: earlier trials at this rate, and then the new ones. A middle beyond the limit is no accident and not tried again.
        """
        limit_ms = PROMISES[promise][1]
        while not any(point.keeps(promise) for point in tried):
            if len(tried) == 2 or (tried and tried[-1].latency_ms["p50"] > limit_ms):
                return False
            tried.append(self.trial(rate, max(duration_s, min(search.least_requests / rate, LONGEST_TRIAL_S))))
        return True

    def _wait_until_idle(self) -> None:
        """Wait until what a trial left behind is worked off."""
        end = time.monotonic() + _LONGEST_SETTLING_S
        while time.monotonic() < end:
            busy, began = self.server.busy_us(), time.monotonic()
            time.sleep(0.15)
            if self.server.busy_us() - busy < _IDLE_SHARE * (time.monotonic() - began) * 1e6:
                return


def _refused_p99_ms(run: Trial) -> float:
    refused = (run.done - run.intended)[run.status == _REFUSED] * 1e3
    return percentile(refused, 0.99) if len(refused) else 0.0
