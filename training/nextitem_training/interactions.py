"""Reads interactions and gives every column the one type in which it is trained and served.

Integers and booleans become int64, floats float32, because that is what a request carries: an
int8 column would let a later 300 wrap around into the known item 44, and a float64 feature would
be trained on digits that serving never sees.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.special_ids import NULL_FLOAT32, NULL_INT64, NULL_STRING
from nextitem_training.tables import read_columns
from nextitem_training.tables.parts import Wanted
from nextitem_training.tables.sendable import check_sendable

STRING = "string"
INT64 = "int64"
FLOAT32 = "float32"
DATETIME = "datetime"


def read_interactions(path: str | Path, data: DataConfig) -> tuple[pd.DataFrame, dict[str, str]]:
    """Reads the configured columns.

    Returns the rows, with the tie-breaker column, and every column's pinned dtype; targets are
    float32, whatever numbers they were. Raises DataError where a column is missing or cannot play its part.
    """
    wanted = Wanted(input_columns(data), frozenset((data.session_column, data.item_column, *data.categorical)))
    table = read_columns(path, wanted, data, time_column=data.time_column, free=data.tie_breaker_column)
    check_sendable(table, (data.item_column, *data.categorical), data.max_id_bytes)
    dtypes = {field.name: pinned_dtype(field) for field in table.schema}
    frame = conform(table_to_frame(table), dtypes)
    _check_parts(frame, dtypes, data)
    for name in data.targets:
        dtypes[name] = FLOAT32
        frame[name] = _floats(cast("pd.Series", frame[name]))
    frame[data.tie_breaker_column] = np.arange(len(frame), dtype=np.int64)
    return frame, dtypes


def input_columns(data: DataConfig) -> tuple[str, ...]:
    """The columns that are read from the data, the item first."""
    columns = (data.item_column, data.time_column, *data.categorical)
    return (*columns, *data.continuous, *data.log_continuous, *data.targets, data.session_column)


def pinned_dtype(field: pa.Field, section: str = "[data]") -> str:
    """The dtype in which a column is trained and served.

    section: the table of the configuration that names it. Raises DataError where there is none.
    """
    kind = field.type.value_type if pa.types.is_dictionary(field.type) else field.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return STRING
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return INT64
    if pa.types.is_floating(kind):
        return FLOAT32
    if pa.types.is_timestamp(kind) or pa.types.is_date(kind):
        return DATETIME
    if pa.types.is_null(kind):
        raise DataError(f"Column '{field.name}' holds no value at all; leave it out of {section}.")
    raise DataError(
        f"Column '{field.name}' is of type {kind}; expected are strings, integers, booleans, "
        f"floats and date-times. Convert it, or leave it out of {section}."
    )


def table_to_frame(table: pa.Table) -> pd.DataFrame:
    """To pandas without turning integers with nulls into floats; row i stays row i."""
    columns = {}
    for name, column in zip(table.column_names, table.columns, strict=True):
        kind = column.type
        if pa.types.is_dictionary(kind):
            column, kind = column.cast(kind.value_type), kind.value_type
        if pa.types.is_date(kind):
            column = column.cast(pa.timestamp("ms"))
        if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
            try:
                column = column.cast(pa.int64())
            except pa.ArrowException as error:
                raise DataError(f"Column '{name}' holds an integer beyond int64; convert it to strings.") from error
        try:
            columns[name] = column.to_pandas(types_mapper={pa.int64(): pd.Int64Dtype()}.get)
        except pa.ArrowException as error:
            raise DataError(f"Column '{name}' cannot be read: {error}") from error
    return pd.DataFrame(columns)


def conform(frame: pd.DataFrame, dtypes: Mapping[str, str]) -> pd.DataFrame:
    """Gives the named columns their pinned types and one form of null; other columns are dropped.

    string → object with None (also for the empty string); int64 → int64, or Int64 with NA (also
    for the smallest int64); float32 → float32 with NaN (also for the lowest float32);
    datetime → datetime64[ns] in UTC without time zone, or NaT. The index becomes 0..n-1.
    Raises DataError where a column is missing or holds another type.
    """
    missing = [name for name in dtypes if name not in frame.columns]
    if missing:
        raise DataError(f"The rows have no column '{missing[0]}'; expected are {', '.join(dtypes)}.")
    converters = {STRING: _strings, INT64: _integers, FLOAT32: _floats, DATETIME: _datetimes}
    columns = {}
    for name, dtype in dtypes.items():
        column: Any = frame[name].reset_index(drop=True)
        try:
            columns[name] = converters[dtype](column)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"Column '{name}' has to be {dtype}: {error}") from error
    return pd.DataFrame(columns)


def _strings(column: pd.Series) -> pd.Series:
    column = column.astype(object)
    null = column.isna() | (column == NULL_STRING)
    wrong = next((value for value in column[~null] if not isinstance(value, str)), None)
    if wrong is not None:
        raise TypeError(f"it holds {wrong!r} of type {type(wrong).__name__}.")
    return column.where(~null, None)


def _integers(column: pd.Series) -> pd.Series:
    # Series.astype refuses 5.5 but also object columns of int and None; to_numeric takes those.
    if column.dtype == object:
        column = pd.Series(pd.array(column, dtype="Int64"), name=column.name)
    column = column.astype("Int64")
    null = column.isna() | (column == NULL_INT64).fillna(False)
    return column.mask(null) if null.any() else column.astype(np.int64)


def _floats(column: pd.Series) -> pd.Series:
    values = column.astype(object).where(column.notna(), np.nan).to_numpy(dtype=np.float32)
    return pd.Series(np.where(values == np.float32(NULL_FLOAT32), np.float32(np.nan), values))


def _datetimes(column: pd.Series) -> pd.Series:
    if column.dtype == np.int64:  # nanoseconds; the smallest int64 is NaT by itself
        return pd.Series(column.to_numpy().view("datetime64[ns]"))
    return pd.to_datetime(column, utc=True).dt.tz_localize(None).astype("datetime64[ns]")


def _check_parts(frame: pd.DataFrame, dtypes: Mapping[str, str], data: DataConfig) -> None:
    """Refuses columns that cannot play the part that [data] gives them."""
    parts = {
        "session_column": ((data.session_column,), (STRING, INT64)),
        "time_column": ((data.time_column,), (DATETIME,)),
        "item_column": ((data.item_column,), (STRING, INT64)),
        "categorical": (data.categorical, (STRING, INT64)),
        "continuous": (data.continuous, (INT64, FLOAT32)),
        "log_continuous": (data.log_continuous, (INT64, FLOAT32)),
        "targets": (data.targets, (INT64, FLOAT32)),
    }
    for part, (names, accepted) in parts.items():
        for name in names:
            if dtypes[name] not in accepted:
                raise DataError(
                    f"Column '{name}' is {dtypes[name]}, but [data] {part} takes "
                    f"{' or '.join(accepted)}. Convert the column before training, or say in [data.types] what it is."
                )
            if frame[name].isna().to_numpy().all():
                raise DataError(f"Column '{name}' holds no value at all; leave it out of [data].")
            if dtypes[name] == FLOAT32 and np.isinf(frame[name]).any():
                raise DataError(f"Column '{name}' holds infinite values; replace them by null.")
    for name in (data.session_column, data.time_column):
        nulls = int(frame[name].isna().sum())
        if nulls:
            raise DataError(
                f"Column '{name}' is null in {nulls} rows; without it they belong to no place in "
                "a session. Remove these rows before training."
            )
