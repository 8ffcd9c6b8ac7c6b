"""Runs tritonserver as a child and makes sure that nothing of it outlives the caller.

A program of its own, standard library only, started by process.py as

    python -I guard.py PARENT_PID GRACE_S SHM_PREFIX WORK_FOLDER -- tritonserver …

It ends tritonserver when its standard input reaches its end: the caller closed it, exited or was
killed; without grace if KILL_NOW came before. Then it kills the stubs that are left, unlinks their
shared memory and, if the caller is gone, removes the work folder. PR_SET_PDEATHSIG in the caller's
place would not do: it acts when the *thread* ends that started the server, and leaves shared
memory and folder behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
POLL_S = 1.0
KILL_NOW = b"k"


def main(arguments: list[str]) -> int:
    """Run the command after `--`; return its exit code, 128 + N if signal N ended it."""
    parent, grace_s, shm_prefix, work_folder = arguments[:4]
    command = arguments[arguments.index("--") + 1 :]
    wake, stopping = _listen_to_signals()
    # Stubs whose tritonserver was killed become ours: a container's process 1 may reap nobody.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
    kill_now = _wait(child, int(parent), wake, stopping)
    _end(child, 0.0 if kill_now else float(grace_s))
    remove_shared_memory(shm_prefix)
    if os.getppid() != int(parent):
        shutil.rmtree(work_folder, ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def _listen_to_signals() -> tuple[int, Callable[[], bool]]:
    """Set handlers that only wake the loop up; return what it waits for and what it asks."""
    received: list[int] = []
    wake, write = os.pipe()
    os.set_blocking(write, False)
    signal.set_wakeup_fd(write, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda number, frame: received.append(number))
    return wake, lambda: bool(received)


def _die_with_parent() -> None:
    _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


def _wait(child: subprocess.Popen[bytes], parent: int, wake: int, stopping: Callable[[], bool]) -> bool:
    """Return when the child ended, the caller's pipe closed, the caller died or a signal came.

    True if the caller wants no grace for what is under way.
    """
    standard_input = sys.stdin.fileno()
    while child.poll() is None and not stopping() and os.getppid() == parent:
        # A fork of the caller may hold the pipe open: hence the look at the parent as well.
        ready, _, _ = select.select([standard_input, wake], [], [], POLL_S)
        if wake in ready:
            os.read(wake, 4096)
        if standard_input in ready:
            return os.read(standard_input, 1) == KILL_NOW
    return False


def _end(child: subprocess.Popen[bytes], grace_s: float) -> None:
    if child.poll() is None:
        if grace_s > 0:
            child.send_signal(signal.SIGTERM)
        try:
            child.wait(grace_s)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    deadline = time.monotonic() + 2.0
    # Its session: the stubs. None is left after an orderly end.
    with contextlib.suppress(ProcessLookupError, PermissionError):
        while time.monotonic() < deadline:
            os.killpg(child.pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(-child.pid, 0)


def remove_shared_memory(prefix: str, folder: Path = Path("/dev/shm")) -> None:
    """Unlink the shared-memory regions whose names start with `prefix`."""
    for region in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            region.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
