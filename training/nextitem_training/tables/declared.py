"""Types that [data.types] declares, and what text may become without that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.compute
import pyarrow.csv

from nextitem_training.config.files import AS_DATETIME, AS_FLOAT, AS_INTEGER, AS_STRING
from nextitem_training.tables.times import text_to_times

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none

#: What stands for null in CSV where a number is expected: the empty text, NA, NULL, nan and the like.
_NULLS = pa.array(sorted(pyarrow.csv.ConvertOptions().null_values))
#: As an integer is written: no leading zeros, no plus, no point.
_INTEGER = "^(0|-?[1-9][0-9]*)$"


def is_text(kind: pa.DataType) -> bool:
    """Whether values of this type are strings."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def integers_if_same(columns: Sequence[pa.ChunkedArray]) -> list[pa.ChunkedArray] | str | None:
    """Text as int64 where every value is written as its integer is, so that no two ids become one and none another.

    Returns the columns, else the first value that is no such integer, or None where no value is.
    """
    columns = [_with_nulls(column) for column in columns]
    written = [pc.match_substring_regex(column, _INTEGER) for column in columns]
    if not any(pc.any(fitting).as_py() for fitting in written):
        return None
    numbers = []
    for column, fitting in zip(columns, written, strict=True):
        other = column.filter(pc.invert(fitting))
        if len(other):
            return other[0].as_py()
        try:
            numbers.append(column.cast(pa.int64()))
        except pa.ArrowInvalid:
            return next(value for value in column.to_pylist() if value and not -(2**63) <= int(value) < 2**63)
    return numbers


def declare(column: pa.ChunkedArray, kind: str) -> pa.ChunkedArray:
    """The column in the declared type. Raises ArrowException or NotImplementedError where a value has no equal there."""
    return _CASTS[kind](column)


def _with_nulls(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_in(column, value_set=_NULLS.cast(column.type)), pa.scalar(None, column.type), column)


def _to_string(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if pa.types.is_floating(column.type) or pa.types.is_boolean(column.type) or pa.types.is_temporal(column.type):
        raise NotImplementedError("there is more than one way of writing such a value")
    return column if is_text(column.type) else column.cast(pa.string())


def _to_integer(column: pa.ChunkedArray) -> pa.ChunkedArray:
    if is_text(column.type):
        # pandas writes integers among nulls as 12.0; arrow refuses a plus.
        plain = pc.replace_substring_regex(_with_nulls(column), pattern=r"^\+?(-?[0-9]+)(\.0*)?$", replacement=r"\1")
        return plain.cast(pa.int64())
    if pa.types.is_floating(column.type):
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column)
    return column.cast(pa.int64())


def _to_float(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return (_with_nulls(column) if is_text(column.type) else column).cast(pa.float64())


def _to_datetime(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return text_to_times(column) if is_text(column.type) else column  # numbers are read by their unit


_CASTS: Mapping[str, Callable[[pa.ChunkedArray], pa.ChunkedArray]] = {
    AS_STRING: _to_string,
    AS_INTEGER: _to_integer,
    AS_FLOAT: _to_float,
    AS_DATETIME: _to_datetime,
}
