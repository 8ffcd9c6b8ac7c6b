"""What an unfinished run leaves beside its output, so that it can be continued: parts and a journal.

    <output>.parts/
      lock                       held while a run writes here
      journal.jsonl              first what the run was asked for, then a line for each part that is complete
      part-000000.csv            the part's rows, in the output's format
      part-000000.failed.jsonl   its sessions that could not be answered

A part counts once its line stands in the journal; what a killed run has begun is done again. Without a journal nothing
here counts: it is written first and removed first.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any, cast

from nextitem_client._exceptions import InvalidOption
from nextitem_client.bulk._lock import locked
from nextitem_client.bulk._output import Table, join_bytes, write_json_lines

FORMAT_VERSION = 1


@dataclass(frozen=True)
class Part:
    """A complete part."""

    number: int
    sessions: int
    failed: int


def parts_folder(output: Path) -> Path:
    """Where the parts of an output are."""
    return output.with_name(f"{output.name}.parts")


def is_unfinished(output: Path) -> bool:
    """Whether an earlier run has left something to continue."""
    return _journal(parts_folder(output)).exists()


def failures_file(output: Path) -> Path:
    """Where the sessions that could not be answered are listed."""
    return output.with_name(f"{output.name}.failed.jsonl")


class Parts:
    """The parts of one run; they are complete in order. request: what the run was asked for, as plain JSON."""

    def __init__(self, output: Path, table: Table, request: Mapping[str, Any]) -> None:
        self._output = output
        self._table = table
        self._folder = parts_folder(output)
        self._journal = _journal(self._folder)
        self._lock: IO[bytes] | None = None
        self._began = False
        self._request = {"format_version": FORMAT_VERSION, **request}
        self.done: list[Part] = []

    def begin(self) -> None:
        """Start anew; an earlier run's parts count no more. Raises InvalidOption where another run is at it, OSError."""
        try:
            self._take()
            self._began = True
            self._rewrite([self._request])
        except OSError as error:
            raise _unwritable(error, self._folder, "Choose an output in a folder that can be written to.") from error

    def resume(self) -> None:
        """Take up what an earlier run has left.

        Raises InvalidOption where it was asked for something else, has lost parts or is still at it, and OSError.
        """
        with self._kept():
            self._take()
        lines = _complete_lines(self._journal)
        if not lines:  # killed before it had begun
            self.begin()
            return
        differing = [name for name in {**lines[0], **self._request} if lines[0].get(name) != self._request.get(name)]
        if differing:
            found = "; ".join(f"{n} was {lines[0].get(n)!r} and is {self._request.get(n)!r}" for n in differing)
            raise InvalidOption(
                f"The unfinished run in {self._folder} was asked for something else: {found}. Repeat its command to "
                "continue it, or start anew with overwrite=True (--overwrite)."
            )
        done = [Part(**line) for line in lines[1:]]
        lost = [file.name for part in done for file in (self._file(part), self._failed(part)) if not file.is_file()]
        if lost:
            raise InvalidOption(
                f"The unfinished run in {self._folder} has lost {', '.join(lost)}, so it cannot be continued: start anew "
                "with overwrite=True (--overwrite)."
            )
        self.done = done
        with self._kept():
            for unfinished in self._folder.glob("*.tmp"):
                unfinished.unlink()
            self._rewrite(lines)  # a torn last line would swallow the next one

    def add(self, rows: Sequence[Sequence[Any]], failures: Sequence[Mapping[str, Any]], sessions: int) -> None:
        """Write the next part and record it. Raises OSError."""
        part = Part(len(self.done), sessions, len(failures))
        with self._kept():
            self._place(self._file(part), lambda path: self._table.write(path, rows))
            self._place(self._failed(part), lambda path: write_json_lines(path, failures))
            self._append(asdict(part))
        self.done.append(part)

    def finish(self) -> None:
        """Join the parts into the output and the list of failures, and remove them. Raises OSError."""
        failed = [self._failed(part) for part in self.done if part.failed]
        with self._kept():
            joined = self._folder / f"joined{self._table.suffix}"
            self._place(joined, lambda path: self._table.join(path, [self._file(part) for part in self.done]))
            if failed:
                listed = self._folder / "failed.jsonl"
                self._place(listed, lambda path: join_bytes(path, failed))
                os.replace(listed, failures_file(self._output))
            else:
                failures_file(self._output).unlink(missing_ok=True)
            os.replace(joined, self._output)
        self._drop()

    def close(self) -> None:
        """Let other runs at it; what is done stays. Where this run has begun and done nothing, nothing is left."""
        if self._lock is None:
            return
        # By the journal, as Ctrl-C may come between its line and what this object knows.
        if self._began and len(_complete_lines(self._journal)) < 2:
            self._drop()
        self._lock.close()
        self._lock = None

    def _take(self) -> None:
        if self._lock is None:
            self._folder.mkdir(exist_ok=True)
            self._lock = locked(self._folder / "lock")

    def _drop(self) -> None:
        self._journal.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _kept(self) -> Generator[None, None, None]:
        """Around what may fail in the middle of a run."""
        try:
            yield
        except OSError as error:
            cure = "What is done is kept: make room or set it right, and continue with resume=True (--resume)."
            raise _unwritable(error, self._folder, cure) from error

    def _file(self, part: Part) -> Path:
        return self._folder / f"part-{part.number:06}{self._table.suffix}"

    def _failed(self, part: Part) -> Path:
        return self._folder / f"part-{part.number:06}.failed.jsonl"

    def _place(self, path: Path, write: Callable[[Path], None]) -> None:
        unfinished = path.with_name(f"{path.name}.tmp")
        write(unfinished)
        with unfinished.open("r+b") as content:
            os.fsync(content.fileno())  # the journal must not outlive, in a crash of the machine, what it lists
        os.replace(unfinished, path)

    def _rewrite(self, lines: Sequence[Mapping[str, Any]]) -> None:
        text = "".join(f"{json.dumps(line)}\n" for line in lines)

        def write(path: Path) -> None:
            path.write_text(text, encoding="utf-8")

        self._place(self._journal, write)

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self._journal.open("a", encoding="utf-8") as text:
            text.write(f"{json.dumps(entry)}\n")
            text.flush()
            os.fsync(text.fileno())


def _journal(folder: Path) -> Path:
    return folder / "journal.jsonl"


def _unwritable(error: OSError, folder: Path, cure: str) -> OSError:
    return OSError(f"{error.filename or folder} cannot be written ({error.strerror or error}). {cure}")


def _complete_lines(journal: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    if not journal.exists():
        return found
    for line in journal.read_bytes().splitlines(keepends=True):
        if not line.endswith(b"\n"):
            break
        found.append(cast("dict[str, Any]", json.loads(line)))
    return found
