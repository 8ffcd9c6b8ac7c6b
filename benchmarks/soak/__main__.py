"""An hour of requests of which one in ten is malformed: does anything well formed fail, does any process grow?

    python -m benchmarks.soak [--quick | --smoke | --seconds N] [--json FILE] [--repository FOLDER]

Serves the bundles of serving_tests (an ensemble and a fused one) with the embedded Triton, finds the highest rate at which 99 %
of the requests are answered within 50 ms, and asks at half of it, over HTTP and gRPC. benchmarks/README.md says how to
read the figures.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.support.command_line import write_figures
from benchmarks.support.own_process import ROOT

if TYPE_CHECKING:
    from benchmarks.soak.counts import Window

#: What is made for the soak, kept between runs.
FOLDER = ROOT / "runs" / "soak"
BUNDLES = ("shop", "shop_fused")
#: Growth of a process's resident memory after the first sixth of the time, as a share of what it had then.
FLAT = 0.05
SETTLING_SHARE = 1 / 6
TARGETS = {
    "well_formed_failed": ("<=", 0),
    "wrong_answers": ("<=", 0),
    "malformed_otherwise": ("<=", 0),
    "memory_growth": ("<=", FLAT),
}


@dataclasses.dataclass(frozen=True)
class Size:
    """seconds: of the load. window_s: between two looks at the memory. search_s, confirm_s: of trials for the rate."""

    seconds: float
    window_s: float
    search_s: float
    confirm_s: float


FULL = Size(3600, 60, 1.5, 4)
QUICK = Size(300, 25, 1, 2)
SMOKE = Size(4, 2, 0.3, 0.3)


def main() -> int:
    """Run the soak. Returns 1 where a target is missed."""
    size, given = _arguments()
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.soak.load import Load, saturating_rate, served
    from nextitem_server import TritonServer

    console = Console(stderr=True)
    repository = given.repository or served(FOLDER, BUNDLES)
    with TritonServer(repository, timeout_s=180) as server, Progress(console=console) as progress:
        load = Load(server, BUNDLES)
        rate = saturating_rate(load, size.search_s, size.confirm_s)
        windows: list[Window] = []
        task = progress.add_task(f"{rate / 2:.0f} requests a second", total=size.seconds)
        began = time.monotonic()
        while (passed := time.monotonic() - began) < size.seconds:
            progress.update(task, completed=passed)
            windows.append(load.window(rate / 2, size.window_s, seed=len(windows)))
    report = {"metrics": metrics_of(windows, rate), **_details(windows, size)}
    _print(console, report, windows)
    write_figures(report, given.json)
    judged = {name: target for name, target in TARGETS.items() if not (given.smoke and name == "memory_growth")}
    return int(any(not met(report["metrics"][name], *target) for name, target in judged.items()))


def _arguments() -> tuple[Size, argparse.Namespace]:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--quick", action="store_true", help="five minutes")
    length.add_argument("--smoke", action="store_true", help="seconds: does it run at all? Memory is not judged")
    length.add_argument("--seconds", type=float, metavar="N", help=f"seconds of load (default: {FULL.seconds:g})")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")
    parser.add_argument("--repository", type=Path, metavar="FOLDER", help="serve the bundles that are there")
    given = parser.parse_args()
    size = QUICK if given.quick else SMOKE if given.smoke else FULL
    return dataclasses.replace(size, seconds=given.seconds or size.seconds), given


def metrics_of(windows: Sequence[Window], rate: float) -> dict[str, float]:
    """The figures by name; `memory_growth` is the largest of any process."""
    return {
        "saturating_rate": rate,
        "asked_rate": rate / 2,
        "seconds": sum(window.seconds for window in windows),
        "well_formed": sum(window.well_formed for window in windows),
        "well_formed_failed": sum(window.well_formed_failed for window in windows),
        "malformed": sum(window.malformed for window in windows),
        "malformed_otherwise": sum(window.malformed_otherwise for window in windows),
        "refused": sum(window.refused for window in windows),
        "compared": sum(window.compared for window in windows),
        "wrong_answers": sum(window.wrong for window in windows),
        "p50_ms": statistics.median(window.p50_ms for window in windows),
        "p99_ms": statistics.median(window.p99_ms for window in windows),
        "memory_growth": max(growth(series) for series in memory_by_process(windows).values()),
        "memory_peak": max(peak(series) for series in memory_by_process(windows).values()),
    }


def memory_by_process(windows: Sequence[Window]) -> dict[str, list[float]]:
    """Resident memory in MB after each window, by process; one that ended or began meanwhile has 0 where it was not."""
    names = sorted({name for window in windows for name in window.memory_mb})
    return {name: [window.memory_mb.get(name, 0.0) for window in windows] for name in names}


def growth(memory_mb: Sequence[float]) -> float:
    """By how much a process grew after the first sixth of the time: a share; infinite for one that began later.

    Compared is what it held at rest, the least of each five minutes of an hour: a body of megabytes that is being refused while
    somebody looks is no growth, and a leak raises the least as well.
    """
    settled, span = _settled(memory_mb), max(1, len(memory_mb) // 12)
    at_rest = [min(settled[start : start + span]) for start in range(0, len(settled), span)]
    return max(at_rest) / at_rest[0] - 1 if at_rest[0] else float("inf")


def peak(memory_mb: Sequence[float]) -> float:
    """The highest of all readings after the first sixth against the least: a share."""
    settled = _settled(memory_mb)
    return max(settled) / min(settled) - 1 if min(settled) else float("inf")


def _settled(memory_mb: Sequence[float]) -> Sequence[float]:
    return memory_mb[round(len(memory_mb) * SETTLING_SHARE) :]


def met(found: float, relation: str, target: float) -> bool:
    """Whether a figure keeps its target."""
    return found <= target if relation == "<=" else found >= target


def _details(windows: Sequence[Window], size: Size) -> dict[str, Any]:
    from benchmarks.support.measuring import commit, machine

    return {
        "commit": commit(),
        "machine": machine(["nvidia-pytriton", "onnxruntime", "tritonclient", "grpcio"]),
        "load_1m_at_the_end": os.getloadavg()[0],
        "size": dataclasses.asdict(size),
        "memory_mb": memory_by_process(windows),
        "problems": [problem for window in windows for problem in window.problems][:50],
    }


def _print(console: Any, report: dict[str, Any], windows: Sequence[Window]) -> None:
    for name, value in report["metrics"].items():
        target = TARGETS.get(name)
        verdict = f"  ({target[0]} {target[1]}: {'met' if met(value, *target) else 'MISSED'})" if target else ""
        console.print(f"{name:>22} {value:>12,.4g}{verdict}")
    for name, series in memory_by_process(windows).items():
        console.print(f"{name:>40}: {series[0]:.0f} MB at first, {series[-1]:.0f} at last, growth {growth(series):.1%}")
    for problem in report["problems"]:
        console.print(f"  {problem}")


if __name__ == "__main__":
    sys.exit(main())
