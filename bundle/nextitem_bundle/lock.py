"""One change of a bundle at a time: an advisory lock on a file in the model repository, `.<name>.lock`.

The system lets go of it when the process ends, in whatever way; a file that is left behind locks nothing.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Callable, Generator
from pathlib import Path

from .errors import BundleError


@contextlib.contextmanager
def locked(repository: Path, name: str, progress: Callable[[str], None] = lambda _: None) -> Generator[None]:
    """Hold the lock of a bundle; wait where another export or activation holds it.

    Where the system has no such locks (some network file systems) nothing is kept apart.

    Args:
        repository: the model repository's folder.
        name: the bundle.
        progress: called with a sentence before a wait.

    Raises:
        BundleError: the lock's file cannot be made.
    """
    path = repository / f".{name}.lock"  # Triton takes folders alone for models
    try:
        handle = _taken(path, lambda: progress(f"waiting until another export or activation of '{name}' ends"))
    except OSError as error:
        raise BundleError(
            f"{path} cannot be made ({error.strerror}), which keeps two changes of '{name}' apart: an export or an "
            "activation needs a repository that it can write to"
        ) from error
    try:
        yield
    finally:
        path.unlink(missing_ok=True)  # before it is let go: who waited for this file sees that it is gone
        os.close(handle)


def _taken(path: Path, waits: Callable[[], None]) -> int:
    """The locked file's descriptor."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            _lock(handle, waits)
            if _is_at(handle, path):
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)


def _lock(handle: int, waits: Callable[[], None]) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        waits()
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError:
        pass


def _is_at(handle: int, path: Path) -> bool:
    """Whether the file is still the one that others find there: who held the lock before has removed it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
