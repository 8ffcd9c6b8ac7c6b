"""Columns of lists: multi-hot attributes and vectors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from nextitem_training.errors import DataError
from nextitem_training.interactions import INT64, STRING, pinned_dtype
from nextitem_training.special_ids import NULL_INT64, NULL_STRING

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none


def is_lists(kind: pa.DataType) -> bool:
    """Whether values of this type are lists."""
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def multi_hot(column: pa.ChunkedArray, name: str) -> tuple[list[list[Any]], str]:
    """The lists of each row, without nulls, [] for a row that is null; and the dtype of their values.

    Raises DataError where the column holds anything but lists of strings or integers, or no value.
    """
    if pa.types.is_null(column.type) or column.null_count == len(column):
        raise DataError(f"column '{name}' holds no value at all; leave it out of [items].")
    if not is_lists(column.type):
        raise DataError(
            f"column '{name}' is {column.type}, but multi_hot takes lists of strings or integers, as Parquet and JSON lines "
            "have them. Convert the column, or list it under categorical."
        )
    dtype = pinned_dtype(pa.field(name, column.type.value_type), "[items]")
    if dtype not in (STRING, INT64):
        raise DataError(
            f"column '{name}' holds lists of {column.type.value_type}, but multi_hot takes lists of strings or integers. "
            "Convert it, or leave it out of [items]."
        )
    kind, null = (str, NULL_STRING) if dtype == STRING else (int, NULL_INT64)
    rows = [[kind(value) for value in row or () if value is not None and value != null] for row in column.to_pylist()]
    if not any(rows):
        raise DataError(f"column '{name}' holds no value at all; leave it out of [items].")
    return rows, dtype


def vectors(column: pa.ChunkedArray, name: str, ids: np.ndarray) -> np.ndarray:
    """float32 [N, P], zeros for null.

    Raises DataError, with the item of the row, where the column holds anything but lists of finite numbers, all of one length.
    """
    if column.null_count == len(column):
        raise DataError(f"column '{name}' holds no vector at all; leave it out of [items].")
    if not is_lists(column.type):
        raise DataError(
            f"column '{name}' is {column.type}, but [items] vectors takes a column of lists of floats, as Parquet and JSON "
            "lines have them, or the path of an .npz file."
        )
    lists = pa.chunked_array(column.chunks).combine_chunks()
    if pa.types.is_fixed_size_list(lists.type):
        lists = lists.cast(pa.list_(lists.type.value_type))
    lengths = pc.fill_null(pc.list_value_length(lists), -1).to_numpy(zero_copy_only=False)
    given = np.flatnonzero(lengths >= 0)
    width = int(lengths[given[0]])
    other = given[lengths[given] != width]
    if len(other) or not width:
        row = other[0] if len(other) else given[0]
        raise DataError(
            f"column '{name}' holds vectors of uneven width: {width} numbers for item {ids[given[0]]!r}, {lengths[row]} for "
            f"item {ids[row]!r}. Give all the same width, and null to items without a vector."
        )
    kind = lists.type.value_type
    if not (pa.types.is_floating(kind) or pa.types.is_integer(kind)):
        raise DataError(
            f"column '{name}' holds lists of {kind}, but [items] vectors takes lists of floats. Convert the column."
        )
    with np.errstate(over="ignore"):  # what is too large for float32 is named below
        values = pc.list_flatten(lists).to_numpy(zero_copy_only=False).astype(np.float32).reshape(-1, width)
    wrong = ~np.isfinite(values).all(axis=1)
    if wrong.any():
        raise DataError(
            f"column '{name}' holds vectors with NaN, infinite or null numbers in {int(wrong.sum())} rows, the first that of "
            f"item {ids[given[wrong]][0]!r}. Give null to items without a vector."
        )
    found = np.zeros((len(ids), width), np.float32)
    found[given] = values
    return found
