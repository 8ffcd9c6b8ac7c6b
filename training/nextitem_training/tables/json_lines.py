"""JSON lines: one object a line, its members the columns."""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator, Sequence
from typing import IO, Any

import pyarrow as pa

from nextitem_training.errors import DataError
from nextitem_training.tables.parts import Part, Wanted
from nextitem_training.tables.selection import Source

#: Lines of which all members are in memory at a time; the wanted ones stay.
_LINES = 1 << 16


def read_json_lines(source: Source, wanted: Wanted, encoding: str) -> list[Part]:
    """Reads the wanted members, null where a line has none, a part for each block of lines.

    Raises DataError where a line is no JSON object, or where a member is of several types.
    """
    names: dict[str, None] = {}
    tables: list[pa.Table] = []
    with source.open() as stream:
        for rows in _blocks(stream, source, encoding):
            names.update(dict.fromkeys(itertools.chain.from_iterable(rows)))
            tables.append(
                pa.table({name: _column([row.get(name) for row in rows], name, source) for name in wanted.columns})
            )
    if tables:
        wanted.check([*names], source.path)
    return [Part(source.path, tuple(names), table) for table in tables]


def _blocks(stream: IO[bytes], source: Source, encoding: str) -> Iterator[list[dict[str, Any]]]:
    text = io.TextIOWrapper(stream, encoding="utf-8-sig" if encoding == "utf-8" else encoding)
    lines = enumerate(text, 1)
    while block := [*itertools.islice(lines, _LINES)]:
        rows = [_row(line, number, source) for number, line in block if not line.isspace()]
        if rows:
            yield rows


def _row(line: str, number: int, source: Source) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except ValueError as error:
        raise DataError(f"{source.path}, line {number}: {error}. Every line has to be one JSON object.") from error
    if not isinstance(row, dict):
        raise DataError(
            f"{source.path}, line {number}: it is {line.strip()[:80]}. Every line has to be one JSON object."
        )
    return row


def _column(values: Sequence[Any], name: str, source: Source) -> pa.Array:
    try:
        return pa.array(values)
    except (pa.ArrowException, ValueError, OverflowError) as error:
        raise DataError(
            f"{source.path}: column '{name}' cannot be read: {error}. Write all its values as one type; integers beyond 64 "
            "bits as strings."
        ) from error
