"""Files of recommendations, one row for each recommended item: CSV and JSON lines, and Parquet from `_parquet.py`.

Written in parts, which are joined at the end.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from nextitem_client._exceptions import InvalidOption
from nextitem_client.bulk._parquet import ParquetTable

#: The columns of every file; behind them come those of the model's heads.
COLUMNS = ("session_id", "rank", "item_id", "score", "status")


class Table(Protocol):
    """A kind of file."""

    suffix: str

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """Write a part: rows of COLUMNS and of the heads' columns."""
        ...

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """Write the whole: the rows of all parts, in order."""
        ...


class CsvTable:
    """CSV in UTF-8 with a header line; null is an empty field."""

    suffix = ".csv"

    def __init__(self, id_type: str, item_type: str, heads: Sequence[str]) -> None:
        self._columns = (*COLUMNS, *heads)

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """See Table."""
        with path.open("w", encoding="utf-8", newline="") as text:
            csv.writer(text, lineterminator="\n").writerows(rows)

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """See Table."""
        join_bytes(path, parts, f"{','.join(self._columns)}\n".encode())


class JsonLinesTable:
    """JSON lines in UTF-8: an object for each row."""

    suffix = ".jsonl"

    def __init__(self, id_type: str, item_type: str, heads: Sequence[str]) -> None:
        self._columns = (*COLUMNS, *heads)

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """See Table."""
        write_json_lines(path, (dict(zip(self._columns, row)) for row in rows))

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """See Table."""
        join_bytes(path, parts)


def open_table(path: Path, id_type: str, item_type: str, heads: Sequence[str]) -> Table:
    """The writer for a file by the end of its name.

    Types are "string" or "integer"; heads: the columns of their values. Raises InvalidOption, MissingPackage.
    """
    writer = WRITERS.get(path.suffix.lower())
    if writer is None:
        raise InvalidOption(f"The output {path} is of no known kind; known are {', '.join(WRITERS)}.")
    return writer(id_type, item_type, heads)


def write_json_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write an object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as text:
        text.writelines(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in objects)


def join_bytes(path: Path, parts: Iterable[Path], head: bytes = b"") -> None:
    """Write the parts one after the other."""
    with path.open("wb") as whole:
        whole.write(head)
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, whole)


WRITERS: Mapping[str, Callable[[str, str, Sequence[str]], Table]] = {
    ".parquet": ParquetTable,
    ".csv": CsvTable,
    ".jsonl": JsonLinesTable,
}
