"""How the attributes of an items table are encoded for the item encoder, without NVTabular: as the fitted workflow did it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, PADDING, UNKNOWN

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none

FILE = "attributes.json"
CATEGORICAL, MULTI_HOT, LOG_CONTINUOUS, CONTINUOUS = "categorical", "multi_hot", "log_continuous", "continuous"
_ARROW = {"string": pa.string(), "int64": pa.int64(), "float32": pa.float32()}


@dataclasses.dataclass(frozen=True)
class Attribute:
    """A column that the model learnt from.

    Attributes:
        kind: `categorical`, `multi_hot`, `log_continuous` or `continuous`.
        dtype: of a value: `string`, `int64` or `float32`.
        values: of a categorical or multi-hot one, the value of code 3, 4, …
        mean, std: of a number, after the logarithm where there is one.
    """

    name: str
    kind: str
    dtype: str
    values: tuple[str | int, ...] = ()
    mean: float = 0.0
    std: float = 1.0

    @property
    def type(self) -> pa.DataType:
        """Of the column in the tables' rows."""
        return pa.list_(_ARROW[self.dtype]) if self.kind == MULTI_HOT else _ARROW[self.dtype]

    def codes(self, values: pa.Array) -> np.ndarray:
        """int64 [N]: null 1, what training never saw 2."""
        found = pc.index_in(values, value_set=pa.array(self.values, _ARROW[self.dtype]))
        codes = pc.add(found.cast(pa.int64()), FIRST_ITEM)
        codes = pc.if_else(pc.is_null(values), NULL, pc.fill_null(codes, UNKNOWN))
        return codes.to_numpy(zero_copy_only=False)

    def scaled(self, values: pa.Array) -> np.ndarray:
        """float32 [N], as LogOp and Normalize compute it; null becomes 0, the mean."""
        numbers = values.to_numpy(zero_copy_only=False).astype(np.float32)  # null is NaN
        if self.kind == LOG_CONTINUOUS:
            numbers = np.log(np.maximum(numbers, np.float32(0)) + np.float32(1))
        numbers = numbers - np.float32(self.mean)
        if self.std > 0:
            numbers = numbers / np.float32(self.std)
        return np.nan_to_num(numbers, nan=0.0).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Content:
    """Encoded attributes of N items.

    Attributes:
        tensors: what the item encoder reads, by name: `codes` int64 [N, A], `bag_0` … int64 [N, L], `numbers` float32 [N, M],
            `vectors` float32 [N, P]; without those that the model has not.
        unseen: how many values training never saw, by attribute.
    """

    tensors: Mapping[str, np.ndarray]
    unseen: Mapping[str, int]


@dataclasses.dataclass(frozen=True)
class Attributes:
    """All attributes of a model, in its order, the column of the content vectors and their width, and columns for people."""

    attributes: tuple[Attribute, ...]
    vectors: str = ""
    vectors_width: int = 0
    shown: Mapping[str, str] = dataclasses.field(default_factory=dict[str, str])

    @property
    def schema(self) -> pa.Schema:
        """Of the tables' rows."""
        fields = {attribute.name: attribute.type for attribute in self.attributes}
        if self.vectors:
            fields[self.vectors] = pa.list_(pa.float32())
        return pa.schema(
            [*fields.items(), *((name, pa.string()) for name in self.shown.values() if name not in fields)]
        )

    @property
    def sent(self) -> tuple[tuple[str, str], ...]:
        """What callers would send of an interaction if the catalogue did not have it: names and dtypes."""
        return tuple((attribute.name, attribute.dtype) for attribute in self.attributes if attribute.kind != MULTI_HOT)

    def of_kind(self, *kinds: str) -> list[Attribute]:
        """The attributes of these kinds, in order."""
        return [attribute for attribute in self.attributes if attribute.kind in kinds]

    def encode(self, rows: pa.Table) -> Content:
        """Rows in the types of `schema`, [N]."""
        unseen: dict[str, int] = {}
        tensors: dict[str, np.ndarray] = {}
        codes = [self._codes(attribute, rows, unseen) for attribute in self.of_kind(CATEGORICAL)]
        if codes:
            tensors["codes"] = np.stack(codes, axis=1)
        for place, attribute in enumerate(self.of_kind(MULTI_HOT)):
            tensors[f"bag_{place}"] = self._bag(attribute, rows, unseen)
        numbers = [
            attribute.scaled(_whole(rows[attribute.name])) for attribute in self.of_kind(LOG_CONTINUOUS, CONTINUOUS)
        ]
        if numbers:
            tensors["numbers"] = np.stack(numbers, axis=1)
        if self.vectors:
            tensors["vectors"] = self._vectors(_whole(rows[self.vectors]))
        return Content(tensors, {name: count for name, count in unseen.items() if count})

    def _codes(self, attribute: Attribute, rows: pa.Table, unseen: dict[str, int]) -> np.ndarray:
        codes = attribute.codes(_whole(rows[attribute.name]))
        unseen[attribute.name] = int((codes == UNKNOWN).sum())
        return codes

    def _bag(self, attribute: Attribute, rows: pa.Table, unseen: dict[str, int]) -> np.ndarray:
        """int64 [N, L], each row's values from the left."""
        lists = _whole(rows[attribute.name])
        flat = pc.list_flatten(lists)
        row_of = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
        kept = pc.is_valid(flat).to_numpy(zero_copy_only=False)
        row_of, codes = row_of[kept], attribute.codes(flat)[kept]
        lengths = np.bincount(row_of, minlength=len(lists))
        bag = np.full((len(lists), max(1, int(lengths.max(initial=0)))), PADDING, dtype=np.int64)
        first = np.cumsum(lengths) - lengths
        bag[row_of, np.arange(len(row_of)) - first[row_of]] = codes
        unseen[attribute.name] = int((codes == UNKNOWN).sum())
        return bag

    def _vectors(self, lists: pa.Array) -> np.ndarray:
        vectors = np.zeros((len(lists), self.vectors_width), dtype=np.float32)
        given = pc.is_valid(lists)
        flat = pc.list_flatten(lists.filter(given)).to_numpy(zero_copy_only=False)
        vectors[given.to_numpy(zero_copy_only=False)] = flat.reshape(-1, self.vectors_width)
        return vectors

    def save(self, folder: Path) -> None:
        """Write `attributes.json`."""
        (folder / FILE).write_text(json.dumps(dataclasses.asdict(self), indent=1, ensure_ascii=False), encoding="utf-8")

    @classmethod
    def load(cls, folder: Path) -> Attributes | None:
        """Read what `save` wrote; None where a catalogue has none."""
        if not (folder / FILE).exists():
            return None
        document = json.loads((folder / FILE).read_text(encoding="utf-8"))
        read = (Attribute(**{**entry, "values": tuple(entry["values"])}) for entry in document.pop("attributes"))
        return cls(tuple(read), **document)


def _whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array."""
    found = column.combine_chunks()
    return found if isinstance(found, pa.Array) else pa.concat_arrays(found.chunks)
