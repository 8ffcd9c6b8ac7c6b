"""Serving under open load: this project and its peers, the same checkpoint and sessions, on this machine in this run.

    python -m benchmarks.serving [--quick | --smoke] [--json FILE] [--plot FILE] [--only NAME …]

Every server is up during the whole run (what they use while idle is measured); they are asked in rounds that take turns, by one
load generator in a process of its own. README.md beside this file says how to read the figures.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import logging
import os
import sys
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.serving.checkpoint import SHOP, SMALL_SHOP, Shop
from benchmarks.serving.report import COMMON_RATE, HIGH_RATE, SLOW_RATE
from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.own_process import ROOT, output_of

if TYPE_CHECKING:
    from rich.progress import Progress

    from benchmarks.serving.measures import Measuring, Point, Search

FOLDER = ROOT / "runs" / "serving"
TARGETS = {
    "rate_over_nvtabular": (">=", 20),
    "rate_over_fastapi_torch": (">=", 3),
    "rate_over_fastapi_ort": (">=", 3),
    "cpu_over_floor": ("<=", 1.3),
    "fused_two.p90_ms_at_1000": ("<=", 5),
    "fused_two.p995_ms_at_1000": ("<=", 15),
    "ensemble_over_fused": (">=", 0.6),
    "bulk_over_onnxruntime": (">=", 0.7),
    "goodput_at_1_5x": (">=", 0.9),
    "goodput_at_2x": (">=", 0.75),
    "ensemble.goodput_at_1_5x": (">=", 0.9),
    "ensemble.goodput_at_2x": (">=", 0.75),
    "refused_p99_ms": ("<=", 10),
    "ensemble.refused_p99_ms": ("<=", 10),
    "failed_after_overload": ("<=", 0),
    "ensemble.failed_after_overload": ("<=", 0),
}
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS", "ARROW_NUM_THREADS")


@dataclasses.dataclass(frozen=True)
class Size:
    """How much a run measures: rounds, rates at which every server is measured, seconds of each kind of trial, sessions.

    many_s: seconds of requests for many sessions. file_sessions: how many sessions a whole file has.
    searched: the servers whose highest rates are searched; None: all that are measured. last_step: of that search, see
    measures.Search. beyond: how much is measured beyond saturation, see overload.EXTENTS.
    """

    rounds: int
    rates: tuple[int, ...]
    fixed_s: float
    search_rounds: int
    search_s: float
    confirm_s: float
    sessions: int
    shop: Shop = SHOP
    beyond: str = "quick"
    warm_s: float = 2.0
    idle_s: float = 3.0
    inprocess_s: float = 0.5
    many_s: float = 3.0
    file_sessions: int = 20_000
    least_requests: int = 150
    last_step: int | None = None
    searched: tuple[str, ...] | None = None

    @property
    def search(self) -> Search:
        """How the highest rates are searched."""
        from benchmarks.serving.measures import Search

        found = Search(self.search_s, self.confirm_s, self.least_requests)
        return found if self.last_step is None else dataclasses.replace(found, last_step=self.last_step)


SMOKE = Size(
    rounds=1, rates=(20,), fixed_s=0.5, search_rounds=1, search_s=0.5, confirm_s=0.5, sessions=50,
    shop=SMALL_SHOP, warm_s=1.0, idle_s=0.2, inprocess_s=0.01, least_requests=10, last_step=40, searched=("fused",),
    beyond="smoke", many_s=0.3, file_sessions=100,
)  # fmt: skip
QUICK = Size(3, (50, COMMON_RATE, HIGH_RATE), 2.0, 1, 1.0, 2.0, 300)
FULL = Size(3, (50, 100, COMMON_RATE, 500, HIGH_RATE, 1500), 3.0, 2, 1.5, 4.0, 1000, beyond="full")


def main() -> int:
    """Run the benchmark. Returns 0, also where a target is missed: the table says so."""
    arguments = _arguments()
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))  # before the libraries that read them are imported
    # NVTabular warns on every use that it runs on a CPU, and that TensorFlow is not installed.
    warnings.filterwarnings("ignore", category=UserWarning, module="merlin|nvtabular")
    from rich.console import Console
    from rich.progress import Progress

    from benchmarks.serving.report import metrics_of, plot, print_report

    console = Console(stderr=True)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("serving").setLevel(logging.INFO if arguments.verbose else logging.WARNING)
    size = of_extent(arguments, full=FULL, quick=QUICK, smoke=SMOKE)
    try:
        with Progress(console=console) as progress, tempfile.TemporaryDirectory() as made:
            found = _measure(size, _names(arguments), Path(made) if arguments.smoke else FOLDER, progress)
    except KeyboardInterrupt:
        console.print("interrupted; every server is stopped, nothing was written")
        return 130
    report = metrics_of(found, TARGETS)
    print_report(report)
    if arguments.plot:
        plot(report, arguments.plot)
    write_figures(report, arguments.json)
    return 0


def _arguments() -> argparse.Namespace:
    from benchmarks.serving.servers import TARGETS as SERVERS

    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="short trials: some twenty minutes")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw latency against rate into this PNG")
    parser.add_argument("--verbose", action="store_true", help="say what each trial found")
    parser.add_argument("--only", nargs="+", choices=sorted(SERVERS), metavar="NAME", help=f"of {', '.join(SERVERS)}")
    return parser.parse_args()


def _names(arguments: argparse.Namespace) -> list[str]:
    """The servers that are measured."""
    from benchmarks.serving.servers import TARGETS as SERVERS

    if arguments.only:
        return [name for name in SERVERS if name in arguments.only]
    if arguments.smoke:
        return [name for name, server in SERVERS.items() if server.smoke]
    return [name for name, server in SERVERS.items() if server.quick or not arguments.quick]


def _measure(size: Size, names: Sequence[str], folder: Path, progress: Progress) -> dict[str, Any]:
    """Everything that was found, see serving_report.metrics_of."""
    from benchmarks.serving import overload
    from benchmarks.serving.checkpoint import checkpoint, sessions
    from benchmarks.serving.many import sessions_per_s
    from benchmarks.serving.measures import Measuring
    from benchmarks.serving.reference import Reference
    from benchmarks.serving.servers import TARGETS as SERVERS
    from benchmarks.serving.servers import Workplace
    from benchmarks.support.measuring import commit, machine

    began = time.monotonic()
    task = progress.add_task(
        "the checkpoint", total=len(names) * (1 + size.rounds * len(size.rates) + size.search_rounds)
    )
    described = machine(["nvidia-pytriton", "onnxruntime", "torch", "nvtabular", "fastapi", "uvicorn", "numpy"])
    run, asked = checkpoint(folder, size.shop), sessions(size.sessions, size.shop)
    reference, work = Reference(run, asked), Workplace(run, folder)
    with contextlib.ExitStack() as stack:
        measured: dict[str, Measuring] = {}
        for number, name in enumerate(names):
            progress.update(task, description=f"starting {name}")
            server = stack.enter_context(SERVERS[name].start(name, work))
            requests = [server.protocol.write(session) for session in asked]
            measured[name] = Measuring(
                server, requests, reference if SERVERS[name].answers else None, seed=1000 * number
            )
            measured[name].trial(SLOW_RATE, size.warm_s)  # its answers are right, and it is warm
            progress.advance(task)
        idle = _idle_share(measured, size.idle_s)
        fixed = _fixed(measured, size, progress, task)
        searched = _searched(measured, fixed, size, progress, task)
        rounds = range(size.rounds if "fused" in measured else 0)
        many = [sessions_per_s(measured["fused"].server, asked, reference, size.many_s) for _ in rounds]
    inprocess, files = _inprocess(work, size), _whole_files(work, size)
    floor = max((one["p99_50ms"] for one in searched.get("noop", [])), default=None)
    beyond = overload.measure(
        overload.EXTENTS[size.beyond],
        [name for name in overload.SERVERS if name in names],
        folder / "large",
        floor,
        lambda what: progress.update(task, description=what),
    )
    described["load_1m_at_the_end"] = machine([])["load_1m"]
    return {
        "commit": commit(), "machine": described, "size": dataclasses.asdict(size),
        "titles": {name: SERVERS[name].title for name in names},
        "idle_share_of_a_core": idle, "fixed": fixed, "searched": searched, "inprocess": inprocess,
        "beyond": beyond, "many": many, "files": files,
        "took_s": round(time.monotonic() - began),
    }  # fmt: skip


def _idle_share(measured: dict[str, Measuring], seconds: float) -> float:
    """What all servers together use of one core while nobody asks."""
    time.sleep(1.0)
    busy, began = sum(one.server.busy_us() for one in measured.values()), time.monotonic()
    time.sleep(seconds)
    return (sum(one.server.busy_us() for one in measured.values()) - busy) / 1e6 / (time.monotonic() - began)


def _fixed(
    measured: dict[str, Measuring], size: Size, progress: Progress, task: Any
) -> dict[str, dict[float, list[Point]]]:
    """Points by server and rate, one for each round; a server is asked no faster once it has fallen behind."""
    found: dict[str, dict[float, list[Point]]] = {name: {} for name in measured}
    behind: dict[str, float] = {}
    for number in range(size.rounds):
        for rate in size.rates:
            for name, one in measured.items():
                progress.update(task, advance=1, description=f"round {number + 1} of {size.rounds}: {name} at {rate}/s")
                if rate > behind.get(name, rate):
                    continue
                point = one.trial(rate, size.fixed_s)
                found[name].setdefault(rate, []).append(point)
                if point.latency_ms["p50"] > 500:
                    behind[name] = rate
                if point.latency_ms["p50"] > 500 and rate == size.rates[0]:
                    found[name].setdefault(SLOW_RATE, []).append(one.trial(SLOW_RATE, size.fixed_s))
    return found


def _kept_at(points: dict[float, list[Point]]) -> float:
    """The highest of the fixed rates at which the first promise was kept, a slow one where none was: a search's start."""
    kept = [rate for rate, (first, *_) in points.items() if first.keeps("p99_50ms")]
    return max(kept, default=SLOW_RATE)


def _searched(
    measured: dict[str, Measuring],
    fixed: dict[str, dict[float, list[Point]]],
    size: Size,
    progress: Progress,
    task: Any,
) -> dict[str, list[dict[str, Any]]]:
    """For each server and round the highest rates."""
    names = measured if size.searched is None else [name for name in size.searched if name in measured]
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for number in range(size.search_rounds):
        for name in names:
            one = measured[name]
            progress.update(task, advance=1, description=f"search {number + 1} of {size.search_rounds}: {name}")
            before, start, stride = found[name], _kept_at(fixed[name]), 6
            if before:
                start, stride = before[-1]["p99_50ms"], 3
            found[name].append(one.highest_rates(start, stride, size.search))
    return found


def _inprocess(work: Any, size: Size) -> dict[str, Any]:
    """inprocess.py in a process of its own, which uses one thread and nothing else."""
    bundle = work.bundle("fused", "onnx")
    return json.loads(output_of("benchmarks.serving.inprocess", bundle, size.rounds, size.inprocess_s, size.shop.items))


def _whole_files(work: Any, size: Size) -> dict[str, Any]:
    """whole_files.py in a process of its own, on one thread."""
    bundle = work.bundle("fused", "onnx")
    arguments = (bundle, size.rounds, size.file_sessions, size.shop.items)
    return json.loads(output_of("benchmarks.serving.whole_files", *arguments))


if __name__ == "__main__":
    sys.exit(main())
