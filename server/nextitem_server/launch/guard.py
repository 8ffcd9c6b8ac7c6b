"""Runs tritonserver as a child and makes sure that nothing of it outlives the caller.

A program of its own, standard library only, started by process.py as

    python -I guard.py PARENT_PID GRACE_S SHM_PREFIX WORK_FOLDER STACK_BYTES -- tritonserver …

It ends tritonserver when its standard input reaches its end: the caller closed it, exited or was
killed; without grace if KILL_NOW came before. After ABANDON_DEAD it waits no longer than there are living stubs: for dead ones
Triton 24.10 would wait until its own limit. Then it kills the stubs that are left, unlinks their
shared memory and, if the caller is gone, removes the work folder. PR_SET_PDEATHSIG in the caller's
place would not do: it acts when the *thread* ends that started the server, and leaves shared
memory and folder behind.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
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
MOST_FILES = 1 << 20
KILL_NOW = b"k"
ABANDON_DEAD = b"a"
_SETTLE_S = 1.0


def main(arguments: list[str]) -> int:
    """Run the command after `--`; return its exit code, 128 + N if signal N ended it."""
    parent, grace_s, shm_prefix, work_folder, stack_bytes = arguments[:5]
    command = arguments[arguments.index("--") + 1 :]
    wake, stopping = _listen_to_signals()
    raise_file_limit()
    resource.setrlimit(resource.RLIMIT_STACK, (int(stack_bytes), resource.getrlimit(resource.RLIMIT_STACK)[1]))
    # Stubs whose tritonserver was killed become ours: a container's process 1 may reap nobody.
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_parent)
    wish = _wait(child, int(parent), wake, stopping)
    _end(child, 0.0 if wish == KILL_NOW else float(grace_s), abandon_dead=wish == ABANDON_DEAD)
    remove_shared_memory(shm_prefix)
    if os.getppid() != int(parent):
        shutil.rmtree(work_folder, ignore_errors=True)
    return child.returncode if child.returncode >= 0 else 128 - child.returncode


def raise_file_limit() -> None:
    """Each connection takes a file descriptor; the usual soft limit of 1,024 is there for programs that use select()."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


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


def _wait(child: subprocess.Popen[bytes], parent: int, wake: int, stopping: Callable[[], bool]) -> bytes:
    """Return when the child ended, the caller's pipe closed, the caller died or a signal came.

    What came through the pipe: KILL_NOW, ABANDON_DEAD or nothing.
    """
    standard_input = sys.stdin.fileno()
    while child.poll() is None and not stopping() and os.getppid() == parent:
        # A fork of the caller may hold the pipe open: hence the look at the parent as well.
        ready, _, _ = select.select([standard_input, wake], [], [], POLL_S)
        if wake in ready:
            os.read(wake, 4096)
        if standard_input in ready:
            return os.read(standard_input, 1)
    return b""


def _end(child: subprocess.Popen[bytes], grace_s: float, *, abandon_dead: bool = False) -> None:
    if child.poll() is None:
        if grace_s > 0:
            child.send_signal(signal.SIGTERM)
        if abandon_dead:
            grace_s = min(grace_s, _wait_for_stubs(child, grace_s))
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


def _wait_for_stubs(child: subprocess.Popen[bytes], grace_s: float) -> float:
    """Until no stub lives, as each does while its model has something to answer; the seconds of grace that are then left."""
    deadline = time.monotonic() + grace_s
    while time.monotonic() < deadline and child.poll() is None and _has_living_stubs(child.pid):
        time.sleep(0.05)
    return min(_SETTLE_S, max(deadline - time.monotonic(), 0.0))


def _has_living_stubs(group: int) -> bool:
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = status.read_text(errors="replace").rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in "ZX" and status.parent.name != str(group):
                return True
    return False


def remove_shared_memory(prefix: str, folder: Path = Path("/dev/shm")) -> None:
    """Unlink the shared-memory regions whose names start with `prefix`."""
    for region in folder.glob(f"{prefix}*"):
        with contextlib.suppress(OSError):
            region.unlink()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
