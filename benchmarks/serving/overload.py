"""What servers still answer beyond their highest rate, where the model is what saturates.

The catalogue has 500 thousand items, so that a server saturates far below what the load generator and Triton can carry. Goodput
is the answers a second within 50 ms, as a share of the most that the server gave in any trial.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from benchmarks.serving.checkpoint import SMALL_SHOP, Shop, checkpoint, sessions
from benchmarks.serving.measures import Measuring, Search
from benchmarks.serving.reference import Reference
from benchmarks.serving.servers import TARGETS, Workplace

LARGE = Shop(items=500_000, sessions=60_000)
#: Prefixes of the figures' names, by server.
SERVERS = {"fused_two": "", "ensemble": "ensemble."}
#: How far beyond the most that was answered in time is asked, by the figure's name.
BEYOND = {"goodput_at_1_5x": 1.5, "goodput_at_2x": 2.0}
#: Of the no-op model's highest rate, what is asked at most: beyond, Triton itself is the limit.
_OF_FLOOR = 0.8
#: Seconds after which every request has to be answered again.
_RECOVERY_S = 5.0
_SLOW_RATE, _START_RATE = 5.0, 40.0


@dataclasses.dataclass(frozen=True)
class Extent:
    """How much is measured: sessions that are asked, seconds and number of the trials beyond saturation, the highest rate's
    search, and the seconds of calm that are looked at after the recovery."""

    shop: Shop
    sessions: int
    trial_s: float
    trials: int
    search: Search
    calm_s: float


#: By what is asked for on the command line.
EXTENTS = {
    "full": Extent(LARGE, 200, trial_s=6.0, trials=5, search=Search(3.0, 6.0), calm_s=5.0),
    "quick": Extent(LARGE, 200, trial_s=4.0, trials=3, search=Search(2.0, 4.0), calm_s=3.0),
    "smoke": Extent(SMALL_SHOP, 20, trial_s=0.5, trials=1, search=Search(0.5, 0.5, 10, last_step=20), calm_s=0.5),
}


def measure(
    extent: Extent, names: Sequence[str], folder: Path, floor: float | None, progress: Callable[[str], None]
) -> dict[str, float]:
    """The figures of these servers by name.

    folder: for the model and its bundles. floor: the no-op model's highest rate, where it was measured.
    """
    if not names:
        return {}
    progress("overload: the large model")
    run, asked = checkpoint(folder, extent.shop), sessions(extent.sessions, extent.shop)
    reference, work = Reference(run, asked), Workplace(run, folder)
    found: dict[str, float] = {}
    for number, name in enumerate(names):
        progress(f"overload: {name}")
        with TARGETS[name].start(name, work) as server:
            requests = [server.protocol.write(session) for session in asked]
            one = Measuring(server, requests, reference, seed=500_000 + 1000 * number)
            one.trial(_SLOW_RATE, extent.trial_s)
            for figure, value in _of_server(one, extent, floor).items():
                found[f"{SERVERS[name]}{figure}"] = value
    return found


def _of_server(one: Measuring, extent: Extent, floor: float | None) -> dict[str, float]:
    highest = one.highest_rate("p99_50ms", _START_RATE, 6, extent.search)
    # One late answer in a hundred ends the search, also where the server could answer half as many again in time.
    saturating = max(highest, *(point.goodput for point in one.points))
    most = _OF_FLOOR * floor if floor else np.inf
    beyond = {
        name: [one.trial(min(factor * saturating, most), extent.trial_s) for _ in range(extent.trials)]
        for name, factor in BEYOND.items()
    }
    peak = max(point.goodput for point in one.points)
    found = {name: statistics.median(point.goodput for point in points) / peak for name, points in beyond.items()}
    refused = [point.refused_p99_ms for points in beyond.values() for point in points if point.refused_p99_ms]
    one.ask(min(BEYOND["goodput_at_2x"] * saturating, most), extent.trial_s)
    after = one.ask(highest / 2, _RECOVERY_S + extent.calm_s)
    late = after.intended >= _RECOVERY_S
    return {
        "large.max_rate_p99_50ms": highest,
        **found,
        "refused_p99_ms": statistics.median(refused) if refused else 0.0,
        "failed_after_overload": float((after.status[late] != 200).mean()),
    }
