"""One type for a column in all parts, where that is certain."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pyarrow as pa

from nextitem_training.errors import DataError
from nextitem_training.tables.declared import declare, integers_if_same, is_text
from nextitem_training.tables.parts import Part, Wanted

logger = logging.getLogger(__name__)

_NOTHING = "nothing"
_STRING = "strings"
_INTEGER = "integers"
_FLOATING = "floats"
_NAIVE = "times without zone"
_ZONED = "times with zone"


@dataclass(frozen=True)
class _Chunk:
    """One part's values of the column."""

    file: Path
    values: pa.ChunkedArray
    untyped: bool

    @property
    def kind(self) -> str:
        """What the values are, whatever their width or unit."""
        kind = self.values.type
        if len(self.values) == self.values.null_count or pa.types.is_null(kind):
            return _NOTHING
        if is_text(kind):
            return _STRING
        if pa.types.is_integer(kind):
            return _INTEGER
        if pa.types.is_floating(kind):
            return _FLOATING
        if pa.types.is_date(kind) or (pa.types.is_timestamp(kind) and kind.tz is None):
            return _NAIVE
        return _ZONED if pa.types.is_timestamp(kind) else str(kind)


def unify(parts: Sequence[Part], wanted: Wanted, types: Mapping[str, str]) -> pa.Table:
    """The parts one below the other. types: declared ones by column, see [data.types].

    Raises DataError where a column's types are not the same in all parts and no lossless one holds them all.
    """
    columns = {}
    for name in wanted.columns:
        chunks = [_Chunk(part.file, _plain(part.table[name]), part.untyped) for part in parts]
        if name in types:
            chunks = [_declared(chunk, name, types[name]) for chunk in chunks]
        elif name in wanted.identifiers:
            chunks = _identifiers(chunks, name)
        columns[name] = _joined(chunks, name, as_numbers=name not in wanted.identifiers)
    return pa.table(columns)


def _plain(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return column.cast(column.type.value_type) if pa.types.is_dictionary(column.type) else column


def _declared(chunk: _Chunk, name: str, kind: str) -> _Chunk:
    try:
        return replace(chunk, values=declare(chunk.values, kind))
    except (pa.ArrowException, NotImplementedError) as error:
        raise DataError(
            f"{chunk.file}: column '{name}' is {chunk.values.type} and cannot become {kind}, which [data.types] says: {error}. "
            "Declare another type there, or correct the values."
        ) from error


def _identifiers(chunks: Sequence[_Chunk], name: str) -> list[_Chunk]:
    """Text of files without types becomes integers where that changes no value, in all parts or in none."""
    untyped = [chunk for chunk in chunks if chunk.untyped]
    others = {chunk.kind for chunk in chunks if not chunk.untyped} - {_NOTHING}
    if not untyped or _STRING in others:
        return [*chunks]
    found = integers_if_same([chunk.values for chunk in untyped])
    if isinstance(found, str):
        logger.info("'%s' is read as text, since %r is no integer as integers are written.", name, found)
    if not isinstance(found, list):
        return [*chunks]
    numbers = iter(found)
    return [replace(chunk, values=next(numbers)) if chunk.untyped else chunk for chunk in chunks]


def _joined(chunks: Sequence[_Chunk], name: str, *, as_numbers: bool) -> pa.ChunkedArray:
    typed = [chunk for chunk in chunks if chunk.kind != _NOTHING]
    if not typed:
        return pa.chunked_array([pa.nulls(sum(len(chunk.values) for chunk in chunks))])
    first, kinds = typed[0], {chunk.kind for chunk in typed}
    if len(kinds) > 1 and not (as_numbers and kinds == {_INTEGER, _FLOATING}):
        other = next(chunk for chunk in typed if chunk.kind != first.kind)
        raise DataError(
            f"Column '{name}' is {first.values.type} in {first.file} and {other.values.type} in {other.file}. Write it the "
            "same way in all files, or say in [data.types] what it is."
        )
    kind = _common(typed)
    joined: list[pa.Array] = []
    for chunk in chunks:
        try:
            values = chunk.values.cast(kind)
        except pa.ArrowException as error:
            raise DataError(
                f"{chunk.file}: column '{name}' is {chunk.values.type} and cannot be read as {kind}, which other files need: "
                f"{error}. Write it the same way in all files."
            ) from error
        joined.extend(values.chunks)
    return pa.chunked_array(joined, kind)


def _common(chunks: Sequence[_Chunk]) -> pa.DataType:
    """The type that holds what the chunks hold, which are of one kind, or integers and floats."""
    types = {chunk.values.type for chunk in chunks}
    if len(types) == 1:
        return types.pop()
    kinds = {chunk.kind for chunk in chunks}
    if _FLOATING in kinds:
        return pa.float64()
    if kinds == {_NAIVE}:
        return pa.timestamp("ns")
    if kinds == {_ZONED}:
        return pa.timestamp("ns", "UTC")
    return pa.large_string() if kinds == {_STRING} else pa.int64()
