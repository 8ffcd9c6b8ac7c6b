"""Strings that a request can carry, checked before a model learns from others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute

from nextitem_training.errors import DataError

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none


def check_sendable(table: pa.Table, names: Iterable[str], max_bytes: int) -> None:
    """Raises DataError where one of these columns holds a string with a NUL character or of more than `max_bytes` of UTF-8.

    Columns of other types are left alone.
    """
    for name in names:
        column = table[name]
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not (pa.types.is_string(column.type) or pa.types.is_large_string(column.type)):
            continue
        torn = column.filter(pc.match_substring(column, "\0"))
        if len(torn):
            raise DataError(
                f"Column '{name}' holds {torn[0].as_py()!r}, with a NUL character, which no request may carry; take it out."
            )
        long = column.filter(pc.greater(pc.binary_length(column), max_bytes))
        if len(long):
            text = long[0].as_py()
            raise DataError(
                f"Column '{name}' holds a string of {len(text.encode())} bytes, '{text[:40]}…', where a request may carry "
                f"{max_bytes}. Shorten such values, or raise [data] max_id_bytes and export with --max-id-bytes."
            )
