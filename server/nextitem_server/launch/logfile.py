"""Triton's log, kept from filling memory or disk.

Triton has no limit of its own, and writes in a tight loop where it runs out of file descriptors. Its log is opened for
appending, so that it can be cut while Triton writes: what was there goes to a file beside it, which the next cut replaces.
"""

from __future__ import annotations

import contextlib
import os
import threading
from pathlib import Path
from typing import BinaryIO

from nextitem_server.errors import InvalidOption

#: Bytes of a log that lies in the work folder, which in a container is memory; with the part before it, twice that.
WORK_LIMIT = 8 << 20
#: The same for one that the caller wants to keep.
KEPT_LIMIT = 256 << 20
LOOK_EVERY_S = 0.25


def open_log(path: Path) -> BinaryIO:
    """A log to append to, after what earlier starts wrote. Raises InvalidOption."""
    try:
        return path.open("ab")
    except OSError as error:
        raise InvalidOption(
            f"The log file {path} cannot be written ({error.strerror}). Give another one with "
            "--log-file, in a folder that exists."
        ) from None


def earlier(path: Path) -> Path:
    """Where the part before the last cut is."""
    return path.with_name(f"{path.name}.1")


def cut(path: Path, limit: int) -> bool:
    """Move the last `limit` bytes of a log that is longer out of the way, and drop the others; whether it was."""
    try:
        if path.stat().st_size <= limit:
            return False
        with contextlib.suppress(OSError), path.open("rb") as log, earlier(path).open("wb") as before:
            log.seek(-limit, os.SEEK_END)
            before.write(log.read(limit))
        os.truncate(path, 0)
    except OSError:  # removed meanwhile, or a full disk
        return False
    return True


class LogLimit:
    """Cuts a log whenever it is longer than `limit` bytes, in a thread of its own.

    begin: where the log of this start begins, in bytes; 0 after a cut.
    """

    def __init__(self, path: Path, limit: int, begin: int = 0):
        self._path = path
        self._limit = limit
        self.begin = begin
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="nextitem-log", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()

    def read(self) -> str:
        """What was written since `begin`, or since the last cut; empty where the log is gone."""
        try:
            with self._path.open("rb") as log:
                log.seek(self.begin)
                return log.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def _run(self) -> None:
        while not self._stopping.wait(LOOK_EVERY_S):
            if cut(self._path, self._limit):
                self.begin = 0
