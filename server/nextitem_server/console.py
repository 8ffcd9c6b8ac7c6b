"""Shows on the console what of Triton's log its user can act on, while the log is written."""

from __future__ import annotations

from pathlib import Path
from typing import TextIO

from nextitem_server import diagnosis


class LogFollower:
    """Copies new lines of the log at `path` to `stream`: warnings and worse, or all if `verbose`.

    The lines that a model prints itself carry no severity; they are shown when `verbose`.
    """

    def __init__(self, path: Path, stream: TextIO, *, verbose: bool = False):
        self._path = path
        self._stream = stream
        self._verbose = verbose
        self._position = 0
        self._partial = b""

    def show_new_lines(self) -> None:
        """Print the complete lines that came since the last call."""
        try:
            with self._path.open("rb") as log:
                log.seek(self._position)
                new = log.read()
        except FileNotFoundError:
            return
        self._position += len(new)
        *lines, self._partial = (self._partial + new).split(b"\n")
        for line in lines:
            text = line.decode("utf-8", errors="replace")
            if self._verbose or diagnosis.worth_showing(text):
                print(text, file=self._stream, flush=True)
