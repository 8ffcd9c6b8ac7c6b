"""Parquet files."""

from __future__ import annotations

import pyarrow.parquet

from nextitem_training.tables.parts import Part, Wanted
from nextitem_training.tables.selection import Source


def read_parquet(source: Source, wanted: Wanted) -> Part:
    """Reads the wanted columns and no other."""
    with pyarrow.parquet.ParquetFile(source.path) as file:
        names = tuple(file.schema_arrow.names)
        wanted.check(names, source.path)
        columns = [*wanted.columns]
        table = file.read(columns=columns).select(columns)
    table.validate(full=True)  # writers are trusted with UTF-8, and some break it
    return Part(source.path, names, table)
