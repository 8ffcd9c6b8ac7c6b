"""Reads the items table: one row for each item, its attributes in the types in which the catalogue keeps them."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pyarrow as pa

from nextitem_training.config import Config, ItemsConfig
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.interactions import FLOAT32, INT64, STRING, conform, pinned_dtype, table_to_frame
from nextitem_training.items.list_columns import multi_hot, vectors
from nextitem_training.special_ids import FIRST_KNOWN
from nextitem_training.tables.parts import Wanted
from nextitem_training.tables.reading import read_items_columns
from nextitem_training.tables.sendable import check_sendable
from nextitem_training.tables.vectors import read_vectors

OPTION = "--items"
#: The column of the vectors in items.parquet where they came as a file of their own.
VECTORS = "vectors"
_KINDS = {STRING: "strings", INT64: "integers", FLOAT32: "floats"}


@dataclass(frozen=True)
class ItemsTable:
    """N items.

    Attributes:
        frame: the ids, each once and none null, under [data] item_column; the attributes, categorical ones as strings or
            integers, numbers as float32, multi-hot ones as lists without nulls; columns for people as strings. Index from 0.
        dtypes: the pinned type of each attribute; of a multi-hot one, that of its values.
        vectors: float32 [N, P], zeros where an item has none; None without vectors.
        vectors_name: the column of the vectors.
    """

    frame: pd.DataFrame
    dtypes: dict[str, str]
    item_column: str
    vectors: np.ndarray | None = None
    vectors_name: str = ""

    @property
    def ids(self) -> np.ndarray:
        """Raw ids, object or int64 [N]."""
        return self.frame[self.item_column].to_numpy()

    def rows_of(self, values: np.ndarray) -> np.ndarray:
        """The row of each raw id, int64 [M]; -1 where the table has none."""
        return pd.Index(self.ids).get_indexer(pd.Index(values))

    def to_arrow(self) -> pa.Table:
        """As items.parquet holds it: lists as lists, vectors as lists of float32."""
        table = pa.Table.from_pandas(self.frame, preserve_index=False)
        if self.vectors is None:
            return table
        rows, width = self.vectors.shape
        # 64-bit offsets where there are more numbers than 32 bits count.
        make, offset = (pa.LargeListArray, np.int64) if self.vectors.size >= 2**31 else (pa.ListArray, np.int32)
        offsets = pa.array(np.arange(rows + 1, dtype=offset) * offset(width))
        return table.append_column(self.vectors_name, make.from_arrays(offsets, pa.array(self.vectors.ravel())))


def check_items(path: str | Path | None, items: ItemsConfig) -> None:
    """Raises ConfigError where [items] and --items do not go together."""
    if path is None and items != ItemsConfig():
        raise ConfigError(
            f"[items] is set, but no items table is given; name it with {OPTION}, or leave [items] out of the configuration."
        )
    if path is not None and not items.learns:
        raise ConfigError(
            f"{OPTION} is given, but [items] says nothing to learn from it; list its columns under categorical, continuous, "
            "log_continuous or multi_hot, or set vectors."
        )


def read_items(path: str | Path | None, config: Config, item_dtype: str) -> ItemsTable | None:
    """Reads and checks the table; None where there is none.

    item_dtype: the item column's pinned type in the interactions.
    Raises ConfigError as `check_items` does, and DataError, with the option in it, where the table cannot be used.
    """
    check_items(path, config.items)
    if path is None:
        return None
    try:
        return _read(path, config, item_dtype)
    except DataError as error:
        raise DataError(f"{OPTION}: {error}") from error


def _read(path: str | Path, config: Config, item_dtype: str) -> ItemsTable:
    items, own = config.items, config.data.item_column
    given = items.item_column or own
    shown = tuple(name for name in items.shown.values() if name not in items.attributes)
    scalars = (given, *items.categorical, *items.log_continuous, *items.continuous, *dict.fromkeys(shown))
    columns = (*scalars, *items.multi_hot, *filter(None, [items.vectors_column]))
    # In a file without types an id stays the text that it is, unless the interactions' are integers.
    texts = (*shown, given) if item_dtype == STRING else shown
    wanted = Wanted(columns, frozenset((given, *items.categorical, *shown)))
    table = read_items_columns(path, wanted, config.data, dict.fromkeys(texts, "string"))
    check_sendable(table, (given, *items.categorical), config.data.max_id_bytes)
    dtypes = {name: _dtype(table.schema.field(name), items, given, item_dtype) for name in scalars}
    frame = conform(table_to_frame(table.select([*scalars])), dtypes)
    ids: Any = frame[given]
    _check_ids(ids, given)
    _check_values(frame, items)
    for name in items.multi_hot:
        frame[name], dtypes[name] = multi_hot(table[name], name)
    vectors_column = items.vectors_column
    kept = [given, *items.attributes, *dict.fromkeys(shown)]
    found = ItemsTable(
        frame=cast("pd.DataFrame", frame[kept]).rename(columns={given: own}),
        dtypes={name: dtypes[name] for name in items.attributes},
        item_column=own,
        vectors=vectors(table[vectors_column], vectors_column, ids.to_numpy()) if vectors_column else None,
        vectors_name=vectors_column,
    )
    return _with_file(found, items.vectors) if items.vectors and not vectors_column else found


def _with_file(table: ItemsTable, path: str) -> ItemsTable:
    """The table with the vectors of an .npz file, zeros where it has none."""
    if VECTORS in table.frame:
        raise DataError(
            f"the table has a column '{VECTORS}', which the vectors of {path} would be called; rename the column."
        )
    rows = read_vectors(path, "[items] vectors").rows(table.ids)[FIRST_KNOWN:]
    return dataclasses.replace(table, vectors=rows, vectors_name=VECTORS)


def _dtype(field: pa.Field, items: ItemsConfig, given: str, item_dtype: str) -> str:
    """A column's pinned type. Raises DataError where it cannot play its part."""
    name, dtype = field.name, pinned_dtype(field, "[items]")
    if name == given:
        if dtype != item_dtype:
            raise DataError(
                f"column '{name}' is {dtype}, and the item ids of the interactions are {_KINDS[item_dtype]}, so that no id "
                "would be the same. Write them in one type in both."
            )
        return dtype
    numbers = name in (*items.log_continuous, *items.continuous)
    if numbers:
        part, allowed = "continuous and log_continuous take", (INT64, FLOAT32)
    elif name in items.categorical:
        part, allowed = "categorical takes", (STRING, INT64)
    else:
        part, allowed = "title, image and url take", (STRING,)
    if dtype not in allowed:
        kinds = " or ".join(_KINDS[one] for one in allowed)
        raise DataError(f"column '{name}' is {dtype}, but {part} {kinds}. Convert the column.")
    return FLOAT32 if numbers else dtype


def _check_ids(ids: pd.Series, name: str) -> None:
    nulls = int(ids.isna().sum())
    if nulls:
        raise DataError(f"column '{name}' is null in {nulls} rows; every row needs the id of its item.")
    again: Any = ids[ids.duplicated()]
    if len(again):
        raise DataError(
            f"column '{name}' has {again.iloc[0]!r} {int((ids == again.iloc[0]).sum())} times, and {len(again)} rows too "
            "many in all; give one row for each item."
        )


def _check_values(frame: pd.DataFrame, items: ItemsConfig) -> None:
    for name in (*items.categorical, *items.log_continuous, *items.continuous):
        column: Any = frame[name]
        if column.isna().all():
            raise DataError(f"column '{name}' holds no value at all; leave it out of [items].")
        if column.dtype == np.float32 and np.isinf(column).any():
            raise DataError(f"column '{name}' holds infinite values; replace them by null.")
