"""From files to one table of the columns that are configured."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa

from nextitem_training.config.files import FilesConfig
from nextitem_training.errors import DataError
from nextitem_training.tables.delimited import read_delimited
from nextitem_training.tables.json_lines import read_json_lines
from nextitem_training.tables.parquet import read_parquet
from nextitem_training.tables.parts import Part, Wanted
from nextitem_training.tables.selection import CSV, JSON_LINES, PARQUET, TSV, UNREADABLE, Source, select
from nextitem_training.tables.times import assembled, to_times
from nextitem_training.tables.unify import unify

_READERS: Mapping[str, Callable[[Source, Wanted, FilesConfig], list[Part]]] = {
    PARQUET: lambda source, wanted, _: [read_parquet(source, wanted)],
    CSV: lambda source, wanted, options: [read_delimited(source, wanted, options)],
    TSV: lambda source, wanted, options: [read_delimited(source, wanted, options)],
    JSON_LINES: lambda source, wanted, options: read_json_lines(source, wanted, options.encoding),
}


def read_columns(path: str | Path, wanted: Wanted, options: FilesConfig, *, time_column: str, free: str) -> pa.Table:
    """Reads the wanted columns of a file, or of all files of a folder one below the other.

    Args:
        time_column: of the wanted columns the one that becomes timestamps, or is made of those in [data] time_from.
        free: a name that no column may have.

    Raises DataError where a file cannot be read or lacks a column, and where types do not fit each other.
    """
    times = options.time_from or (time_column,)
    columns = [name for name in wanted.columns if name != time_column]
    sought = Wanted(tuple(dict.fromkeys([*columns, *times])), wanted.identifiers)
    parts: list[Part] = []
    for source in select(path):
        found = _read(source, sought, options)
        if any(free in part.names for part in found):
            raise DataError(
                f"{source.path} has a column '{free}' already, a name that training uses for the row's position; set [data] "
                "tie_breaker_column to another name."
            )
        parts.extend(found)
    _refuse_empty(path, parts)
    table = unify(parts, sought, options.types)
    if options.time_from:
        moments = assembled([table[name] for name in times], times)
    else:
        moments = to_times(table[time_column], time_column, options.time_unit)
    return pa.table({name: moments if name == time_column else table[name] for name in wanted.columns})


def read_items_columns(path: str | Path, wanted: Wanted, options: FilesConfig, untyped: Mapping[str, str]) -> pa.Table:
    """Reads the wanted columns of an items table, as `read_columns` does; none of them is a time.

    untyped: types of columns, as [data.types] names them, where no file says any.
    """
    parts = [part for source in select(path, "items", "--items") for part in _read(source, wanted, options)]
    _refuse_empty(path, parts)
    return unify(parts, wanted, untyped if all(part.untyped for part in parts) else {})


def _refuse_empty(path: str | Path, parts: Sequence[Part]) -> None:
    if not sum(len(part.table) for part in parts):
        raise DataError(f"{path} holds no rows.")


def _read(source: Source, wanted: Wanted, options: FilesConfig) -> list[Part]:
    try:
        return _READERS[source.format](source, wanted, options)
    except (*UNREADABLE, csv.Error) as error:
        advice = ""
        if source.format != PARQUET and ("UTF8" in str(error) or isinstance(error, UnicodeError)):
            advice = (
                f" It is read as {options.encoding}; set [data] encoding to what it is written in, such as 'latin-1'."
            )
        raise DataError(f"{source.path} cannot be read as {source.format}: {error}.{advice}") from error
