"""What is said on the console, which may go away: a server has to run on, whoever reads."""

from __future__ import annotations

import contextlib
import errno
import os
from pathlib import Path
from typing import TextIO

from nextitem_server import diagnosis

_GONE = (errno.EPIPE, errno.EIO, errno.EBADF)  # the reader of a pipe, the terminal, the descriptor
#: More of a log than this between two looks is a flood: its beginning is left out.
LONGEST_LOOK = 1 << 18


def say(text: str, stream: TextIO) -> None:
    """Print a line. What cannot be printed is dropped, and with it all that follows where nobody can read any more."""
    try:
        print(text, file=stream, flush=True)
    except ValueError:  # closed
        return
    except OSError as error:
        if error.errno in _GONE:
            _discard(stream)


def finish(*streams: TextIO) -> None:
    """Before the end: Python turns what cannot be printed at its end into an exit code of its own."""
    for stream in streams:
        try:
            stream.flush()
        except ValueError:
            continue
        except OSError:
            _discard(stream)


def _discard(stream: TextIO) -> None:
    with contextlib.suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)


class LogFollower:
    """Copies new lines of the log at `path`, from the byte `begin` on, to `stream`: warnings and worse, or all if `verbose`.

    The lines that a model prints itself carry no severity; they are shown when `verbose`.
    """

    def __init__(self, path: Path, stream: TextIO, *, begin: int = 0, verbose: bool = False):
        self._path = path
        self._stream = stream
        self._verbose = verbose
        self._position = begin
        self._partial = b""
        self._told: set[str] = set()

    def show_new_lines(self) -> None:
        """Print the complete lines that came since the last call."""
        for line in self._new_lines():
            text = line.decode("utf-8", errors="replace")
            advice = diagnosis.advice(text)
            if advice is not None:
                self._tell_once(advice)
            elif self._verbose or diagnosis.worth_showing(text):
                say(text, self._stream)

    def _new_lines(self) -> list[bytes]:
        try:
            with self._path.open("rb") as log:
                size = os.fstat(log.fileno()).st_size
                if size < self._position:  # it was cut
                    self._position, self._partial = 0, b""
                if size - self._position > LONGEST_LOOK:
                    self._position, self._partial = size - LONGEST_LOOK, b""
                log.seek(self._position)
                new = log.read(LONGEST_LOOK)
        except FileNotFoundError:
            return []
        self._position += len(new)
        *lines, self._partial = (self._partial + new).split(b"\n")
        return lines

    def _tell_once(self, advice: str) -> None:
        if advice not in self._told:
            self._told.add(advice)
            say(f"nextitem-serve: {advice}", self._stream)
