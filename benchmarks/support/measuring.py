"""Timing callables in interleaved rounds, so that what disturbs the machine disturbs all of them; and saying which machine."""

from __future__ import annotations

import dataclasses
import importlib.metadata
import itertools
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Timed:
    """What one of several ways took, in µs: each round's median call, and the processor time of each round's mean call."""

    rounds: tuple[float, ...]
    busy: tuple[float, ...]

    @property
    def us(self) -> float:
        """The median over the rounds."""
        return statistics.median(self.rounds)

    @property
    def spread(self) -> float:
        """Highest less lowest round, as a share of the median."""
        return (max(self.rounds) - min(self.rounds)) / self.us

    def times_faster_than(self, other: Timed) -> float:
        """The ratio of processor times, all threads together, each the median over the rounds.

        Not of the times that passed: on a busy machine calls of many milliseconds are interrupted, those of microseconds hardly
        ever, and that ratio grows with the load.
        """
        return statistics.median(other.busy) / statistics.median(self.busy)


def in_rounds(
    ways: Mapping[str, Sequence[Callable[[], Any]]], *, rounds: int, round_s: float, progress: Callable[[], None]
) -> dict[str, Timed]:
    """Time each way, several calls that are made in turn, in every round, one way after the other.

    round_s: how long each way is repeated in a round, once at least. progress: called after each way.
    """
    for calls in ways.values():
        calls[0]()  # warms caches, and makes whatever is made at the first call
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, calls in ways.items():
            found[name].append(_one_round(calls, round_s))
            progress()
    return {name: Timed(*zip(*values, strict=True)) for name, values in found.items()}


def _one_round(calls: Sequence[Callable[[], Any]], round_s: float) -> tuple[float, float]:
    """The median call and the mean call's processor time, in µs."""
    taken: list[float] = []
    end, busy = time.perf_counter() + round_s, time.process_time()
    for call in itertools.cycle(calls):
        started = time.perf_counter()
        call()
        finished = time.perf_counter()
        taken.append(finished - started)
        if finished > end:
            break
    busy = time.process_time() - busy
    return statistics.median(taken) * 1e6, busy / len(taken) * 1e6


def machine(libraries: Sequence[str]) -> dict[str, Any]:
    """The processor, its cores, the load of the last minute and the versions of these libraries."""
    return {
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_1m": round(os.getloadavg()[0], 2),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "libraries": {name: importlib.metadata.version(name) for name in libraries},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def commit() -> str:
    """The commit of this checkout, with `+` where files differ from it; `unknown` where it is no checkout."""

    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
        )
        return done.stdout.strip()

    if not git("rev-parse", "HEAD"):
        return "unknown"
    return git("rev-parse", "--short", "HEAD") + ("+" if git("status", "--porcelain", "--untracked-files=no") else "")
