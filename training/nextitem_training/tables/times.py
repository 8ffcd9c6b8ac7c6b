"""Date-times from numbers since 1970 and from text."""

from __future__ import annotations

import datetime
import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute

from nextitem_training.errors import DataError

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none

logger = logging.getLogger(__name__)

#: Nanoseconds of a unit.
_NANOSECONDS: Mapping[str, int] = {"s": 10**9, "ms": 10**6, "us": 10**3, "ns": 1}
_NAMES: Mapping[str, str] = {"s": "seconds", "ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}
#: Where times of interactions lie: the beginnings of the years 2000 and 2100, in seconds. Of a number one unit does.
_EARLIEST, _LATEST = 946_684_800, 4_102_444_800


def to_times(column: pa.ChunkedArray, name: str, unit: str) -> pa.ChunkedArray:
    """The time column as timestamps in UTC, of whatever it is; types that are no times are left as they are.

    Integers and floats count `unit`s since 1970; fractions are kept to the nanosecond. Raises DataError where a number or a
    text is no time, or where there is no unit and none is certain.
    """
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        try:
            return text_to_times(column)
        except pa.ArrowException as error:
            raise DataError(
                f"Column '{name}' holds text that is no date-time as ISO 8601 writes it, such as 2024-03-01 12:30:00: {error}. "
                "Write it so, or as a number since 1970."
            ) from error
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
        if unit and not pa.types.is_null(kind):
            raise DataError(f"Column '{name}' is {kind} and no number; leave out [data] time_unit = \"{unit}\".")
        return column
    if kind in (pa.float16(), pa.float32()):
        raise DataError(
            f"Column '{name}' holds times as {kind}, which tells seconds since 1970 to 128 of them; write them as integers or "
            "as 64-bit floats."
        )
    if column.null_count == len(column):
        return column.cast(pa.timestamp("ns"))
    return _numbers_to_times(column, name, unit or _certain_unit(column, name))


def assembled(columns: Sequence[pa.ChunkedArray], names: Sequence[str]) -> pa.ChunkedArray:
    """Timestamps of the columns of years, months, days and, if there are, hours, minutes and seconds; null where one is null.

    Raises DataError where they are no integers or no date.
    """
    columns = [_whole(column, name) for column, name in zip(columns, names, strict=True)]
    units = ("year", "month", "day", "hour", "minute", "second")
    frame = pd.DataFrame({unit: column.to_pandas() for unit, column in zip(units, columns, strict=False)})
    try:
        return pa.chunked_array([pa.Array.from_pandas(pd.to_datetime(frame))])
    except ValueError as error:
        raise DataError(
            f"The columns {', '.join(names)} of [data] time_from do not all say a time: {error}."
        ) from error


def _whole(column: pa.ChunkedArray, name: str) -> pa.ChunkedArray:
    try:
        if pa.types.is_integer(column.type) or pa.types.is_string(
            column.type
        ):  # text where the column is a category too
            return column.cast(pa.int64())
        found = f"is {column.type}"
    except pa.ArrowInvalid as error:
        found = f"is text: {error}"
    raise DataError(f"Column '{name}' {found}; [data] time_from takes columns of integers.")


def text_to_times(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """ISO 8601 as timestamps, with an offset to UTC in all or in none; the empty text is null. Raises ArrowInvalid."""
    column = pc.if_else(pc.equal(column, ""), pa.scalar(None, column.type), column)
    try:
        return column.cast(pa.timestamp("ns"))
    except pa.ArrowInvalid as error:
        if "zone offset" not in str(error):
            raise
        return column.cast(pa.timestamp("ns", "UTC"))


def _numbers_to_times(column: pa.ChunkedArray, name: str, unit: str) -> pa.ChunkedArray:
    factor = _NANOSECONDS[unit]
    try:
        if pa.types.is_integer(column.type):
            return pc.multiply_checked(column.cast(pa.int64()), factor).cast(pa.timestamp("ns"))
        # Whole units and fractions apart: their sum in nanoseconds has more digits than a float.
        whole = pc.floor(column)
        fraction = pc.round(pc.multiply(pc.subtract(column, whole), float(factor)))
        nanoseconds = pc.add_checked(pc.multiply_checked(_integers(whole), factor), _integers(fraction))
        return nanoseconds.cast(pa.timestamp("ns"))
    except pa.ArrowException as error:
        least, greatest = pc.min_max(column).as_py().values()
        raise DataError(
            f"Column '{name}' holds {least} to {greatest}, which as {_NAMES[unit]} since 1970 are no times from 1677 to 2262; "
            f"set [data] time_unit to another of {', '.join(_NANOSECONDS)}, or remove these rows."
        ) from error


def _integers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.if_else(pc.is_nan(column), pa.scalar(None, column.type), column).cast(pa.int64())


def _certain_unit(column: pa.ChunkedArray, name: str) -> str:
    """The unit in which every time lies between 2000 and 2100. Raises DataError where there is none."""
    least, greatest = pc.min_max(column).as_py().values()
    for unit, factor in _NANOSECONDS.items():
        if _within(least, factor) and _within(greatest, factor):
            logger.info(
                "'%s' is read as %s since 1970: %s to %s.",
                name,
                _NAMES[unit],
                _day(least, factor),
                _day(greatest, factor),
            )
            return unit
    proposed = next((unit for unit, factor in _NANOSECONDS.items() if _within(greatest, factor)), "")
    proposal = f'; with "{proposed}" the newest is {_day(greatest, _NANOSECONDS[proposed])}' if proposed else ""
    raise DataError(
        f"Column '{name}' holds numbers from {least} to {greatest}, which are not all times from 2000 to 2100 in any unit. "
        f"Set [data] time_unit to one of {', '.join(_NANOSECONDS)}{proposal}, or turn the column into date-times."
    )


def _within(value: float, factor: int) -> bool:
    return bool(np.isfinite(value)) and _EARLIEST <= value * factor / 10**9 < _LATEST


def _day(value: float, factor: int) -> str:
    return f"{datetime.datetime.fromtimestamp(value * factor / 10**9, tz=datetime.timezone.utc):%Y-%m-%d %H:%M}"
