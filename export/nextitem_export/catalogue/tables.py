"""The raw tables of a catalogue, by code: ids, counts, the vectors that ids have learnt, and what is known of each item."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32, NULL_INT64, NULL_STRING

ITEMS, ROWS, VECTORS, BIAS = "ids.parquet", "rows.parquet", "id_vectors.npy", "bias.npy"


@dataclasses.dataclass(frozen=True)
class Tables:
    """V - 3 items.

    Attributes:
        ids: raw ids, object (str) or int64 [V - 3], by code from 3; those of removed items too.
        removed: bool [V - 3].
        counts: interactions in training, int64 [V - 3]; 0 for an item that was added.
        id_vectors: float32 [V, D], what the model learnt of each id; zeros for an item that was added to a model with content,
            and the mean of its group without. The special codes' rows come first.
        bias: what is added to each item's score, float32 [V]; None where the model has none.
        rows: the items table, [V - 3] rows; null in each column of an item that has no row. None without an items table.
    """

    ids: np.ndarray
    removed: np.ndarray
    counts: np.ndarray
    id_vectors: np.ndarray
    bias: np.ndarray | None = None
    rows: pa.Table | None = None

    @property
    def cardinality(self) -> int:
        """V, the special codes included."""
        return FIRST_ITEM + len(self.ids)

    @property
    def served_ids(self) -> np.ndarray:
        """Raw ids by code from 3, null for removed items."""
        null = NULL_STRING if self.ids.dtype == object else NULL_INT64
        return np.where(self.removed, np.array(null, self.ids.dtype), self.ids)

    @property
    def log_popularity(self) -> np.ndarray:
        """Log share of training interactions, float32 [V]; an item that training never saw counts half an interaction."""
        counts = np.maximum(self.counts, 0.5)
        special = np.full(FIRST_ITEM, LOWEST_FLOAT32)
        return np.concatenate([special, np.log(counts / counts.sum())]).astype(np.float32)

    def save(self, folder: Path, there: Collection[str] = ()) -> None:
        """Write the files, but for those of these names, which are there already."""
        kind = pa.string() if self.ids.dtype == object else pa.int64()
        items = {"id": pa.array(self.ids, kind), "removed": pa.array(self.removed), "count": pa.array(self.counts)}
        pyarrow.parquet.write_table(pa.table(items), folder / ITEMS, compression="zstd")
        for name, values in ((VECTORS, self.id_vectors), (BIAS, self.bias)):
            if values is not None and name not in there:
                np.save(folder / name, values, allow_pickle=False)
        if self.rows is not None and ROWS not in there:
            pyarrow.parquet.write_table(self.rows, folder / ROWS, compression="zstd")

    def same_files(self, other: Tables) -> tuple[str, ...]:
        """The files but for ids.parquet that are those of other tables as well."""
        arrays = ((VECTORS, self.id_vectors, other.id_vectors), (BIAS, self.bias, other.bias))
        same = [name for name, own, its in arrays if own is not None and its is not None and np.array_equal(own, its)]
        if self.rows is not None and other.rows is not None and self.rows.equals(other.rows):
            same.append(ROWS)
        return tuple(same)

    @classmethod
    def load(cls, folder: Path) -> Tables:
        """Read what `save` wrote; vectors are mapped from disk."""
        items = pyarrow.parquet.read_table(folder / ITEMS)
        ids, removed, counts = (
            items.column(name).to_numpy() if name != "id" else _ids(items.column(name))
            for name in ("id", "removed", "count")
        )
        bias = np.load(folder / BIAS, allow_pickle=False) if (folder / BIAS).exists() else None
        rows = pyarrow.parquet.read_table(folder / ROWS) if (folder / ROWS).exists() else None
        vectors = np.load(folder / VECTORS, mmap_mode="r", allow_pickle=False)
        return cls(ids, removed, counts, vectors, bias, rows)


def _ids(column: pa.ChunkedArray) -> np.ndarray:
    values = column.to_numpy()
    return values if pa.types.is_integer(column.type) else values.astype(object)
