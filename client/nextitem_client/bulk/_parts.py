"""What an unfinished run leaves beside its output, so that it can be continued: numbered parts.

    <output>.parts/
      lock                       held while a run writes here
      request.json               what the run was asked for; without it nothing here counts
      part-000000.failed.jsonl   sessions of the part that could not be answered
      part-000000.csv            the part's rows, in the output's format

Every file is written beside its place, synced and renamed, so that one that is there is complete. A part counts where both
of its files are there and all parts before it count; what follows is done again.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from nextitem_client._exceptions import InvalidOption
from nextitem_client.bulk._files import Table, join_bytes, write_json_lines

FORMAT_VERSION = 2


def parts_folder(output: Path) -> Path:
    """Where the parts of an output are."""
    return output.with_name(f"{output.name}.parts")


def is_unfinished(output: Path) -> bool:
    """Whether an earlier run has left something to continue."""
    return (parts_folder(output) / "request.json").exists()


def failures_file(output: Path) -> Path:
    """Where the sessions that could not be answered are listed."""
    return output.with_name(f"{output.name}.failed.jsonl")


class Parts:
    """The parts of one run; `count` of them are complete. request: what the run was asked for, as plain JSON."""

    def __init__(self, output: Path, table: Table, request: Mapping[str, Any]) -> None:
        self._output = output
        self._table = table
        self._folder = parts_folder(output)
        self._recorded = self._folder / "request.json"
        self._request = {"format_version": FORMAT_VERSION, **request}
        self._lock: IO[bytes] | None = None
        self._began = False
        self.count = 0

    def begin(self) -> None:
        """Start anew; an earlier run's parts count no more. Raises InvalidOption where another run is at it, OSError."""
        try:
            self._take()
            self._began = True
            recorded = self._written(self._recorded.name, lambda path: path.write_text(json.dumps(self._request)))
            self._recorded.unlink(missing_ok=True)
            self._remove_parts()
            os.replace(recorded, self._recorded)
        except OSError as error:
            raise _unwritable(error, self._folder, "Choose an output in a folder that can be written to.") from error

    def resume(self) -> None:
        """Go on behind the last complete part of an earlier run.

        Raises InvalidOption where it was asked for something else or is still at it, and OSError.
        """
        with self._kept():
            self._take()
        if not self._recorded.exists():  # it has ended meanwhile
            self.begin()
            return
        before: dict[str, Any] = json.loads(self._recorded.read_bytes())
        differing = [name for name in {**before, **self._request} if before.get(name) != self._request.get(name)]
        if differing:
            found = "; ".join(f"{n} was {before.get(n)!r} and is {self._request.get(n)!r}" for n in differing)
            raise InvalidOption(
                f"The unfinished run in {self._folder} was asked for something else: {found}. Repeat its command to "
                "continue it, or start anew with overwrite=True (--overwrite)."
            )
        self.count = self._complete()
        with self._kept():
            self._remove_parts()

    def add(self, rows: Sequence[Sequence[Any]], failures: Sequence[Mapping[str, Any]]) -> None:
        """Write the next part. Raises OSError."""
        file, failed = self._files(self.count)
        with self._kept():
            os.replace(self._written(failed.name, lambda path: write_json_lines(path, failures)), failed)
            os.replace(self._written(file.name, lambda path: self._table.write(path, rows)), file)
        self.count += 1

    def finish(self) -> None:
        """Join the parts into the output and the list of failures, and remove them. Raises OSError."""
        files = [self._files(number) for number in range(self.count)]
        with self._kept():
            output = self._written("output", lambda path: self._table.join(path, [file for file, _ in files]))
            failures = self._written("failures", lambda path: join_bytes(path, [failed for _, failed in files]))
            if failures.stat().st_size:
                os.replace(failures, failures_file(self._output))
            else:
                failures_file(self._output).unlink(missing_ok=True)
            os.replace(output, self._output)
        self._drop()

    def close(self) -> None:
        """Let other runs at it; what is done stays. Where this run has begun and done nothing, nothing is left."""
        if self._lock is None:
            return
        if self._began and not self._complete():  # Ctrl-C may come between a part and its count
            self._drop()
        self._lock.close()
        self._lock = None

    def _take(self) -> None:
        if self._lock is None:
            self._folder.mkdir(exist_ok=True)
            self._lock = _locked(self._folder / "lock")

    def _drop(self) -> None:
        self._recorded.unlink(missing_ok=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    @contextmanager
    def _kept(self) -> Generator[None, None, None]:
        """Around what may fail in the middle of a run."""
        try:
            yield
        except OSError as error:
            cure = "What is done is kept: make room or set it right, and continue with resume=True (--resume)."
            raise _unwritable(error, self._folder, cure) from error

    def _files(self, number: int) -> tuple[Path, Path]:
        name = f"part-{number:06}"
        return self._folder / f"{name}{self._output.suffix.lower()}", self._folder / f"{name}.failed.jsonl"

    def _complete(self) -> int:
        number = 0
        while all(file.is_file() for file in self._files(number)):
            number += 1
        return number

    def _remove_parts(self) -> None:
        """Those behind the first `count`, of which some file is missing, or which an earlier run has left."""
        kept = {file for number in range(self.count) for file in self._files(number)}
        for file in self._folder.glob("part-*"):
            if file not in kept:
                file.unlink()

    def _written(self, name: str, write: Callable[[Path], Any]) -> Path:
        """A file that is complete on the disk, to be renamed into its place."""
        path = self._folder / f"{name}.tmp"
        write(path)
        with path.open("r+b") as content:
            os.fsync(content.fileno())  # a rename must not outlive, in a crash of the machine, what it places
        return path


def _locked(path: Path) -> IO[bytes]:
    """Lock this file until what is returned is closed, or the process ends in whatever way.

    Raises InvalidOption where another run holds it. Where the system knows no such locks (Windows, some network file
    systems) nothing is kept out.
    """
    file = path.open("ab")
    try:
        fcntl: Any = importlib.import_module("fcntl")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InvalidOption(
            f"Another run is writing to {path.parent} at this moment: let it end, or choose another output."
        ) from None
    except (ImportError, OSError):
        pass
    return file


def _unwritable(error: OSError, folder: Path, cure: str) -> OSError:
    return OSError(f"{error.filename or folder} cannot be written ({error.strerror or error}). {cure}")
