"""Brings back the processes of a model that died while Triton runs.

Triton 24.10 neither starts a dead Python process again nor says that it is dead: health and the model's readiness stay 200, and
each request that comes to it fails after a second.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextitem_server import health
from nextitem_server.supervision.restart import ModelRestart, RestartFailedError

#: The variable that tells the models where the numbers of their restarts are: a file a model, see `Restarts`.
RESTARTS = "NEXTITEM_RESTARTS"
LOOK_EVERY_S = 0.25
ATTEMPTS = 3
_PAUSE_S = 1.0
#: How long Triton takes at most to let go of what belonged to a dead process.
_LETTING_GO_S = 30.0


@dataclass(frozen=True)
class Process:
    """A process of the Python backend. instance: its name, <model>_<group>_<number>."""

    model: str
    version: str
    instance: str


class Processes:
    """The living processes of the server whose shared memory has this prefix."""

    def __init__(self, shm_prefix: str, folder: Path = Path("/proc")):
        self._prefix = shm_prefix
        self._folder = folder
        self._strangers: set[str] = set()
        self._looks = 0

    def alive(self) -> set[Process]:
        """Those that run now; a dead one whose end Triton has not noticed has no command line any more."""
        try:
            there = {name for name in os.listdir(self._folder) if name.isdigit()}
        except OSError:  # no Linux
            return set()
        self._strangers &= there
        found = [self._read(name) for name in there - self._strangers]
        self._looks += 1
        return {process for process in found if process is not None}

    def _read(self, number: str) -> Process | None:
        try:
            line = (self._folder / number / "cmdline").read_bytes().decode(errors="replace")
        except OSError:  # it ended meanwhile
            return None
        # Triton's own line has the prefix, and so has a process that it has only just forked. A line is empty between the steps
        # of exec, so that this says nothing; only what is empty at the first look, when the models are loaded, is the kernel's.
        if self._prefix not in line and (line or self._looks == 0):
            self._strangers.add(number)
            return None
        return process_of(line.rstrip("\0").split("\0"))


def process_of(arguments: list[str]) -> Process | None:
    """What a command line says: `…_stub <repository>/<model>/<version>/model.py <shared memory> … <instance> …`.

    None for another program, and for the short-lived one that completes a configuration: its instance has the model's own name.
    """
    if len(arguments) < 3 or not arguments[0].endswith("python_backend_stub"):
        return None
    version = Path(arguments[1]).parent
    model = version.parent.name
    for name in arguments[3:]:
        numbers = name.removeprefix(f"{model}_").split("_")
        if name.startswith(f"{model}_") and len(numbers) == 2 and all(part.isdigit() for part in numbers):
            return Process(model, version.name, name)
    return None


class Restarts:
    """How often each model was started anew, in a file that has the model's name and holds the number."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._counts: dict[str, int] = {}

    def add(self, model: str) -> int:
        """Count one more; returns how many there were."""
        count = self._counts[model] = self._counts.get(model, 0) + 1
        self._folder.mkdir(exist_ok=True)
        beside = self._folder / f".{model}.new"
        beside.write_text(str(count))
        os.replace(beside, self._folder / model)
        return count


class Supervisor:
    """Looks for dead processes and has their models started anew, in a thread of its own.

    Args:
        processes: those of the server.
        restart: how a model is started anew.
        restarts: where that is counted.
        say: is told what happened, a sentence each; it must not block.
        give_up: is told, last of all, why the server cannot go on.
    """

    def __init__(
        self,
        processes: Processes,
        restart: ModelRestart,
        restarts: Restarts,
        say: Callable[[str], None],
        give_up: Callable[[str], None],
    ):
        self._processes = processes
        self._restart = restart
        self._restarts = restarts
        self._say = say
        self._give_up = give_up
        self._known: set[Process] = set()
        self._died_at = -_LETTING_GO_S
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nextitem-supervisor", daemon=True)

    def start(self) -> None:
        """Begin; the processes that live now are those that have to."""
        self._known = self._processes.alive()
        self._thread.start()

    def stop(self) -> bool:
        """End; whether Triton may still have to let go of a process that is dead."""
        self._stopping.set()
        self._thread.join(2 * LOOK_EVERY_S)  # no longer: it may be waiting for a load
        missing = bool(self._known - self._processes.alive())
        return missing or time.monotonic() - self._died_at < _LETTING_GO_S

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            try:
                lost = self._lost()
            except OSError:  # Triton is busy, or ends: the next look knows more
                continue
            for model in sorted({process.model for process in lost}):
                if not self._bring_back(model, sorted(one.instance for one in lost if one.model == model)):
                    return

    def _lost(self) -> set[Process]:
        """The dead processes of models that Triton holds for ready; one that was unloaded is forgotten."""
        alive = self._processes.alive()
        gone = self._known - alive
        lost = {process for process in gone if self._is_ready(process)}
        self._known = self._known - gone | lost | alive
        return lost

    def _is_ready(self, process: Process) -> bool:
        restart = self._restart
        return health.is_model_ready(restart.host, restart.port, process.model, process.version)

    def _bring_back(self, model: str, instances: list[str]) -> bool:
        """Whether it was; else this is the end."""
        began = self._died_at = time.monotonic()
        what = f"the process of {', '.join(instances)}"
        count = self._restarts.add(model)
        self._say(f"{what} died (killed, or out of memory?); starting {model} anew …")
        config: Mapping[str, Any] | None = None
        reason = ""
        for attempt in range(ATTEMPTS):
            try:
                if config is None:
                    config = self._restart.config(model)
                # What died for want of memory may not find enough beside what lives.
                (self._restart.from_scratch if attempt else self._restart.in_place)(model, config)
                if all(process.model != model for process in self._lost()):
                    self._say(f"{model} answers again after {time.monotonic() - began:.1f} s; restarts so far: {count}")
                    return True
                reason = "the new process died as well"
            except (RestartFailedError, OSError) as error:
                reason = str(error)
            if self._stopping.wait(_PAUSE_S):
                return False
        self._give_up(
            f"{what} died, and {model} could not be started anew in {ATTEMPTS} attempts: {reason}. The server ends, so that "
            "what supervises it starts it again. Look for a lack of memory; --log-file PATH keeps the whole log."
        )
        return False
