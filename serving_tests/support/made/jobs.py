"""Makes things side by side, each in a process of its own that need not import torch and NVTabular anew."""

from __future__ import annotations

import dataclasses
import importlib
import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from multiprocessing.connection import wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from types import ModuleType

#: What each job imports. Seconds, so it is done before the jobs' processes are forked.
SLOW_IMPORTS = (
    *("torch", "torch.onnx", "nvtabular", "onnx", "onnxruntime", "rich.progress"),
    *(
        "nextitem_training.cli",
        "nextitem_training.bodies.xlnet",
        "nextitem_training.bodies.gpt2",
        "nextitem_export.cli",
    ),
)


@dataclasses.dataclass(frozen=True)
class Job:
    """Something that is made. needs: names of jobs that come first. make: is given the folder that holds everything."""

    name: str
    make: Callable[[Path], None]
    needs: tuple[str, ...] = ()


class JobFailed(Exception):  # noqa: N818
    """The name of the job, and what it printed."""


def log_of(folder: Path, name: str) -> Path:
    """What the job printed; the file is there once the job is done."""
    return folder / "logs" / f"{name}.txt"


def under_way(folder: Path) -> list[Path]:
    """Logs of jobs that were interrupted: what they left cannot be used."""
    return sorted((folder / "logs").rglob("*.part"))


def closure(jobs: Mapping[str, Job], targets: Iterable[str]) -> dict[str, Job]:
    """The jobs that are called so or lie in a folder that is, with all that they need, in the order of `jobs`.

    Raises KeyError where a target is neither.
    """
    wanted: set[str] = set()
    left = list(targets)
    while left:
        target = left.pop()
        found = [name for name in jobs if name == target or name.startswith(f"{target}/")]
        if not found:
            raise KeyError(f"nothing is called {target!r}; there are {', '.join(jobs)}")
        left += [need for name in found if name not in wanted for need in jobs[name].needs]
        wanted.update(found)
    return {name: job for name, job in jobs.items() if name in wanted}


def make(jobs: Mapping[str, Job], folder: Path, processes: int) -> None:
    """Do these jobs, so many at a time, those first that come first. Raises JobFailed as soon as one fails."""
    if not jobs:
        return
    warnings.filterwarnings("ignore")  # NVTabular's about GPU libraries that are not needed
    for name in SLOW_IMPORTS:
        importlib.import_module(name)
    left, running = dict(jobs), dict[str, ForkProcess]()
    try:
        while left or running:
            ready = [job for job in left.values() if not {*left, *running} & set(job.needs)]
            for job in ready[: processes - len(running)]:
                running[left.pop(job.name).name] = _start(job, folder)
            wait([process.sentinel for process in running.values()])
            for name in [name for name, process in running.items() if not process.is_alive()]:
                _finish(name, running.pop(name), folder)
    finally:
        for process in running.values():
            process.kill()
            process.join()


def command(name: str, *arguments: object) -> None:
    """Run one of the project's commands in this process, by the entry point that its script calls. Raises SystemExit."""
    (entry,) = {entry.value: entry for entry in entry_points(group="console_scripts", name=name)}.values()
    code = entry.load()([str(argument) for argument in arguments])
    if code:
        raise SystemExit(code)


def program(code: str, folder: Path) -> None:
    """Run a program as `python -c` in this folder would, in this process."""
    folder.mkdir(parents=True, exist_ok=True)
    os.chdir(folder)
    sys.modules["__main__"] = module = ModuleType("__main__")
    exec(compile(code, "<program>", "exec"), module.__dict__)


def _start(job: Job, folder: Path) -> ForkProcess:
    log = log_of(folder, job.name).with_suffix(".part")
    log.parent.mkdir(parents=True, exist_ok=True)
    log.touch()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    process = multiprocessing.get_context("fork").Process(target=_run, args=(job, folder, log), name=job.name)
    process.start()
    return process


def _run(job: Job, folder: Path, log: Path) -> None:
    sys.stdout = sys.stderr = log.open("w", buffering=1, encoding="utf-8")
    for stream in (1, 2):  # what libraries in C write, and programs that the job starts
        os.dup2(sys.stdout.fileno(), stream)
    job.make(folder)


def _finish(name: str, process: ForkProcess, folder: Path) -> None:
    process.join()
    log = log_of(folder, name)
    part = log.with_suffix(".part")
    if process.exitcode != 0:
        raise JobFailed(f"{name} ended with {process.exitcode}:\n{part.read_text(errors='replace')}")
    part.rename(log)
