"""A server for the time of a measurement: the command nextitem-serve on free ports of this machine."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from .._errors import ExportError

COMMAND = "nextitem-serve"
_STOP_S = 60.0
_READY = re.compile(r"HTTP\s+http://([^:/\s]+):(\d+)")


def command() -> str:
    """Where nextitem-serve is: beside this Python, or on the PATH. Raises ExportError."""
    beside = shutil.which(COMMAND, path=str(Path(sys.executable).parent))
    found = beside or shutil.which(COMMAND)
    if found is None:
        raise ExportError(
            f"tune measures with the command {COMMAND}, which is not installed here: install it with pip install "
            "'nextitem-server[embedded]', or export without tune"
        )
    return found


@contextlib.contextmanager
def served(repository: Path) -> Iterator[tuple[tuple[str, int], int]]:
    """Serve these models; gives host and port of HTTP, and the process. Whatever happens, it is stopped.

    Raises ExportError with the command's own sentence if it does not start.
    """
    words = [command(), "--model-repository", str(repository), "--no-verify"]  # there is no manifest yet
    words += [word for name in ("http", "grpc", "metrics") for word in (f"--{name}-port", "0")]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, text=True)
        try:
            yield _address(process, said), process.pid
        finally:
            process.terminate()
            try:
                process.wait(_STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()


def _address(process: subprocess.Popen[str], said: IO[str]) -> tuple[str, int]:
    for line in process.stdout or ():
        found = _READY.search(line)
        if found:
            return found[1], int(found[2])
    process.wait()
    said.seek(0)
    words = said.read().strip().splitlines()
    last = words[-1] if words else f"exit code {process.returncode}"
    raise ExportError(f"tune cannot measure, since the server did not start ({last}); or export without tune")


def memory_mb(process: int) -> float | None:
    """What a process and its descendants hold, shared pages once, in MB; None where Linux's /proc does not tell."""
    try:
        parents = {int(entry): _parent(entry) for entry in os.listdir("/proc") if entry.isdigit()}
    except OSError:
        return None
    family = {process}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    kilobytes = [_proportional_kb(pid) for pid in family]
    return sum(kilobytes) / 1024 if any(kilobytes) else None


def _parent(process: str) -> int:
    try:
        # After the name, which stands in parentheses and may hold anything: state, parent.
        return int(Path("/proc", process, "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return -1


def _proportional_kb(process: int) -> int:
    try:
        text = Path("/proc", str(process), "smaps_rollup").read_text()
    except OSError:
        return 0
    found = re.search(r"^Pss:\s+(\d+)", text, re.MULTILINE)
    return int(found[1]) if found else 0
