"""CSV and its like: values between separators, which column is which in the first line."""

from __future__ import annotations

import codecs
import csv
import io

import pyarrow as pa
import pyarrow.csv

from nextitem_training.config.files import FilesConfig
from nextitem_training.errors import DataError
from nextitem_training.tables.parts import Part, Wanted
from nextitem_training.tables.selection import TSV, Source

_SEPARATORS = (",", ";", "\t", "|")


def read_delimited(source: Source, wanted: Wanted, options: FilesConfig) -> Part:
    """Reads the wanted columns; identifiers as text, of the others pyarrow finds the types."""
    line = _first_line(source, options.encoding)
    separator = options.separator or _separator(source, line, wanted)
    names = _split(line, separator)
    hint = (
        ""
        if options.separator
        else f" The columns are taken apart at {separator!r}; if that is wrong set [data] separator."
    )
    wanted.check(names, source.path, hint)
    with source.open() as stream:
        table = pyarrow.csv.read_csv(
            stream,
            read_options=pyarrow.csv.ReadOptions(encoding="utf-8" if _is_utf8(options.encoding) else options.encoding),
            parse_options=pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True),
            convert_options=pyarrow.csv.ConvertOptions(
                include_columns=[*wanted.columns],
                column_types={name: pa.string() for name in wanted.identifiers},
            ),
        )
    return Part(source.path, tuple(names), table, untyped=True)


def _is_utf8(encoding: str) -> bool:
    return codecs.lookup(encoding).name in ("utf-8", "utf-8-sig")


def _first_line(source: Source, encoding: str) -> str:
    """The line of names, which may run over several lines of the file where a name does."""
    with source.open() as stream:
        # A byte order mark is no part of the first name.
        text = io.TextIOWrapper(stream, encoding="utf-8-sig" if _is_utf8(encoding) else encoding, newline="")
        line = text.readline()
        while line.count('"') % 2 and (more := text.readline()):
            line += more
    if not line.strip():
        raise DataError(
            f"{source.path} has no first line with the names of the columns; write one, or remove the file."
        )
    return line


def _split(line: str, separator: str) -> list[str]:
    return next(csv.reader(io.StringIO(line, newline=""), delimiter=separator))


def _separator(source: Source, line: str, wanted: Wanted) -> str:
    """The usual separator, or another one if with that one alone all wanted columns are found."""
    usual = "\t" if source.format == TSV else ","
    fitting = [separator for separator in _SEPARATORS if set(wanted.columns) <= set(_split(line, separator))]
    return fitting[0] if len(fitting) == 1 else usual
