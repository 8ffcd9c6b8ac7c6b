"""The processes of a server's models, and waiting for what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nextitem_server import TritonServer


@contextmanager
def running_triton(repository: Path, **options: Any) -> Iterator[TritonServer]:
    """A server that is killed at the end. An orderly end takes Triton up to ten seconds, and server/tests have it."""
    server = TritonServer(repository, **options).start()
    try:
        yield server
    finally:
        server.stop(kill=True)


def processes_of(server: TritonServer, model: str) -> list[int]:
    """Ids of the processes that serve a model, in the order of their instances."""
    path = f"{server.repository.resolve()}/{model}/"
    found: list[tuple[str, int]] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            program, *arguments = (folder / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if program.endswith("python_backend_stub") and arguments[0].startswith(path):
            found.append((" ".join(arguments), int(folder.name)))
    return [number for _, number in sorted(found)]


def eventually(condition: Callable[[], bool], timeout_s: float) -> bool:
    """Whether it becomes true within that time."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
