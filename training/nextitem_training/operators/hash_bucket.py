"""HashBucket: a value's hash as its code, for columns with too many values for a vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from merlin.schema import ColumnSchema, Schema, Tags
from nvtabular import ColumnSelector
from nvtabular.ops import Operator

from nextitem_training.operators.hashing import FIRST_BUCKET, hash_series
from nextitem_training.special_ids import NULL


class HashBucket(Operator):
    """Codes of hashed values: 0 padding, 1 null, 2 to num_buckets + 1 the buckets.

    NVTabular 23.8's own operator hashes the value together with its row, so that equal values get different buckets.
    Columns may hold strings, integers, booleans or date-times.

    Args:
        num_buckets: the number of buckets, for all columns or by column name.

    Raises:
        ValueError: a number of buckets is not a whole number of at least 1.
    """

    def __init__(self, num_buckets: int | dict[str, int]) -> None:
        super().__init__()
        self.num_buckets = checked_buckets(num_buckets)

    def transform(self, col_selector: ColumnSelector, df: pd.DataFrame) -> pd.DataFrame:
        """int64 codes of the selected columns."""
        codes = {}
        for name in col_selector.names:
            values: Any = df[name]
            codes[name] = bucket_codes(hash_series(values), self._buckets(name), values.isna())
        return pd.DataFrame(codes, index=df.index)

    def _buckets(self, name: str) -> int:
        return buckets_of(self.num_buckets, name)

    def _compute_properties(self, col_schema: ColumnSchema, input_schema: Schema) -> ColumnSchema:
        properties: Any = input_schema.first.properties
        return col_schema.with_properties({**properties, **bucket_properties(self._buckets(col_schema.name))})

    @property
    def output_tags(self) -> list[Tags]:
        """Categorical."""
        return [Tags.CATEGORICAL]

    @property
    def output_dtype(self) -> type:
        """int64, as Categorify has it."""
        return np.int64


def checked_buckets(num_buckets: int | dict[str, int]) -> int | dict[str, int]:
    """The number of buckets; raises ValueError where it is no whole number of at least 1."""
    numbers = num_buckets.values() if isinstance(num_buckets, dict) else [num_buckets]
    for number in numbers:
        if type(number) is not int or number < 1:
            raise ValueError(
                f"num_buckets is {num_buckets!r}; it has to be a whole number from 1, or one for each column"
            )
    return num_buckets


def buckets_of(num_buckets: int | dict[str, int], name: str) -> int:
    """The buckets of one column; raises ValueError where none are given for it."""
    if isinstance(num_buckets, int):
        return num_buckets
    if name not in num_buckets:
        raise ValueError(f"num_buckets names {', '.join(num_buckets)} but not '{name}', which it is to be applied to")
    return num_buckets[name]


def bucket_codes(hashed: np.ndarray, buckets: int, null: pd.Series) -> np.ndarray:
    """int64 [N]: NULL where null, else FIRST_BUCKET and up."""
    return np.where(null.to_numpy(), NULL, FIRST_BUCKET + hashed % buckets)


def bucket_properties(buckets: int) -> dict:
    """What the schema says of the codes, in NVTabular's words; the width is its rule for embeddings."""
    cardinality = FIRST_BUCKET + buckets
    width = min(16, round(1.6 * cardinality**0.56))
    return {
        "domain": {"min": 0, "max": cardinality - 1},
        "embedding_sizes": {"cardinality": cardinality, "dimension": width},
    }
