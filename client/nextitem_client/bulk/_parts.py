"""What an unfinished run leaves beside its output, so that it can be continued: parts and a journal.

    <output>.parts/
      journal.jsonl              first what the run was asked for, then a line for each part that is complete
      part-000000.csv            the part's rows, in the output's format
      part-000000.failed.jsonl   its sessions that could not be answered

A part counts once its line stands in the journal; what a killed run has begun is done again.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, cast

from nextitem_client._exceptions import InvalidOption
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


def failures_file(output: Path) -> Path:
    """Where the sessions that could not be answered are listed."""
    return output.with_name(f"{output.name}.failed.jsonl")


class Parts:
    """The parts of one run; they are complete in order. request: what the run was asked for, as plain JSON."""

    def __init__(self, output: Path, table: Table, request: Mapping[str, Any]) -> None:
        self._output = output
        self._table = table
        self._folder = parts_folder(output)
        self._journal = self._folder / "journal.jsonl"
        self._request = {"format_version": FORMAT_VERSION, **request}
        self.done: list[Part] = []

    def begin(self) -> None:
        """Start anew; an earlier run's parts are dropped."""
        if self._folder.exists():
            shutil.rmtree(self._folder)
        self._folder.mkdir(parents=True)
        self._append(self._request)

    def resume(self) -> None:
        """Take up what an earlier run has left. Raises InvalidOption where it was asked for something else."""
        lines = _complete_lines(self._journal) if self._journal.exists() else []
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
        self.done = [Part(**line) for line in lines[1:]]
        # A torn last line would swallow the next one.
        replacement = self._journal.with_name("journal.tmp")
        write_json_lines(replacement, [lines[0], *(asdict(part) for part in self.done)])
        os.replace(replacement, self._journal)

    def add(self, rows: Sequence[Sequence[Any]], failures: Sequence[Mapping[str, Any]], sessions: int) -> None:
        """Write the next part and record it."""
        part = Part(len(self.done), sessions, len(failures))
        self._place(self._file(part), lambda path: self._table.write(path, rows))
        self._place(self._failed(part), lambda path: write_json_lines(path, failures))
        self._append(asdict(part))
        self.done.append(part)

    def drop_if_empty(self) -> None:
        """Where nothing is done there is nothing to continue."""
        if not self.done:
            shutil.rmtree(self._folder)

    def finish(self) -> None:
        """Join the parts into the output and the list of failures, and remove them."""
        failed = [self._failed(part) for part in self.done if part.failed]
        joined, listed = self._folder / f"joined{self._table.suffix}", self._folder / "failed.jsonl"
        self._table.join(joined, [self._file(part) for part in self.done])
        if failed:
            join_bytes(listed, failed)
            os.replace(listed, failures_file(self._output))
        else:
            failures_file(self._output).unlink(missing_ok=True)
        os.replace(joined, self._output)
        shutil.rmtree(self._folder)

    def _file(self, part: Part) -> Path:
        return self._folder / f"part-{part.number:06}{self._table.suffix}"

    def _failed(self, part: Part) -> Path:
        return self._folder / f"part-{part.number:06}.failed.jsonl"

    def _place(self, path: Path, write: Callable[[Path], None]) -> None:
        unfinished = path.with_name(f"{path.name}.tmp")
        write(unfinished)
        os.replace(unfinished, path)

    def _append(self, entry: Mapping[str, Any]) -> None:
        with self._journal.open("a", encoding="utf-8") as text:
            text.write(f"{json.dumps(entry)}\n")
            text.flush()
            os.fsync(text.fileno())


def _complete_lines(journal: Path) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for line in journal.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        found.append(cast("dict[str, Any]", json.loads(line)))
    return found
