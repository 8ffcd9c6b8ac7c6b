"""Chooses settings of a built bundle: serves copies of it, asks them with the sample's sessions and keeps the best."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from .._errors import ExportError
from ..layouts import Layout
from ..options import ExportOptions
from ..plan import Plan
from ..wire import request_tensors
from . import measure, serve
from .message import infer_request
from .search import LADDERS, MARGIN, Figures, Settings, Tried, search

#: Who asks at once: enough to fill batches, few enough that it is the server that is measured.
CALLERS = 16
#: With so many callers; within it a page of a shop still waits for nothing that a visitor would notice.
P90_BOUND_MS = 50.0
_CROWD_S, _ALONE_S, _SETTLE_S = 2.0, 0.7, 0.3
_SESSIONS = 200
#: Files above this size are linked into the copies, which never write to them.
_LINKED_BYTES = 1 << 16


@dataclasses.dataclass(frozen=True)
class Tuning:
    """What was measured. kept: of the options that were searched. fixed: those that were not."""

    kept: dict[str, int]
    fixed: dict[str, int]
    tried: tuple[Tried, ...]
    cores: int

    def to_json(self) -> dict[str, Any]:
        """As it stands in bundle.json."""
        return {
            "machine": {"cores": self.cores, "processor": platform.machine()},
            "callers": CALLERS,
            "p90_bound_ms": P90_BOUND_MS,
            "margin": MARGIN,
            "kept": self.kept,
            "fixed": self.fixed,
            "tried": [{"settings": one.settings, **_rounded(one.figures)} for one in self.tried],
        }


def check_tunable(free: Collection[str]) -> None:
    """Raise ExportError unless there is something to choose and something to measure with."""
    unknown = sorted(set(free) - LADDERS.keys())
    if unknown:
        raise ExportError(f"cannot tune {', '.join(unknown)}, known are {', '.join(LADDERS)}")
    if not free:
        raise ExportError(f"tune has nothing to choose: {', '.join(LADDERS)} are all given")
    serve.command()


def tune(
    layout: Layout,
    build: Path,
    plan: Plan,
    options: ExportOptions,
    free: Collection[str],
    progress: Callable[[str], None],
) -> tuple[ExportOptions, Tuning]:
    """The options with the best settings on this machine, and what was tried.

    build: holds the assembled models, without configuration. free: the options that may be changed, of LADDERS.
    Raises ExportError if no server starts or it does not answer.
    """
    model = layout.models[-1]
    requests = [
        infer_request(model, request_tensors([session], plan.raw_features)) for session in plan.sessions[:_SESSIONS]
    ]

    def measured(settings: Settings) -> Figures:
        told = ", ".join(f"{name} {value}" for name, value in settings.items())
        progress(f"measuring on this machine: {told}")
        copy = build / "tuning"
        try:
            _copy(layout, build, copy)
            layout.write_configs(copy, plan, dataclasses.replace(options, **settings))
            with serve.served(copy) as (address, process):
                return _figures(address, process, requests)
        finally:
            shutil.rmtree(copy, ignore_errors=True)

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    start = {name: getattr(options, name) for name in LADDERS}
    best, tried = search(
        start, free, measured, cores=cores, p90_bound_ms=P90_BOUND_MS, most_sessions=options.max_sessions
    )
    kept = {name: best[name] for name in LADDERS if name in free}
    fixed = {name: best[name] for name in LADDERS if name not in free}
    return dataclasses.replace(options, **best), Tuning(kept, fixed, tuple(tried), cores)


def _figures(address: tuple[str, int], process: int, requests: list[bytes]) -> Figures:
    alone = measure.ask(address, requests, callers=1, duration_s=_ALONE_S, settle_s=_SETTLE_S)
    crowd = measure.ask(address, requests, callers=CALLERS, duration_s=_CROWD_S, settle_s=_SETTLE_S)
    return Figures(
        throughput=crowd.throughput,
        p50_ms=crowd.percentile_ms(50),
        p90_ms=crowd.percentile_ms(90),
        p99_ms=crowd.percentile_ms(99),
        alone_ms=alone.percentile_ms(50),
        refused=crowd.refused,
        memory_mb=serve.memory_mb(process),
    )


def _copy(layout: Layout, build: Path, copy: Path) -> None:
    for model in layout.models:
        if (build / model).is_dir():
            shutil.copytree(build / model, copy / model, copy_function=_linked)


def _linked(source: str, target: str) -> None:
    if os.path.getsize(source) > _LINKED_BYTES:
        os.link(source, target)
    else:
        shutil.copy2(source, target)


def _rounded(figures: Figures) -> dict[str, float | int | None]:
    return {
        name: round(value, 2) if isinstance(value, float) else value
        for name, value in dataclasses.asdict(figures).items()
    }
