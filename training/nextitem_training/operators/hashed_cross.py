"""HashedCross: several columns together, hashed to one code."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from merlin.schema import ColumnSchema, Schema, Tags
from nvtabular import ColumnSelector
from nvtabular.ops import Operator

from nextitem_training.operators.hash_bucket import bucket_codes, bucket_properties, buckets_of, checked_buckets
from nextitem_training.operators.hashing import combine, hash_series


class HashedCross(Operator):
    """Codes of combinations: 0 padding, 1 where all columns are null, 2 to num_buckets + 1 the buckets.

    NVTabular 23.8's own operator hashes the values together with their row, so that equal pairs get different buckets.
    A column that is null counts as a value of its own beside one that is not. Apply it to `["a", "b"]` for the one
    cross `a_X_b`, or to `[("a", "b"), ("a", "c")]` for several.

    Args:
        num_buckets: the number of buckets, for all crosses or by the output's name.

    Raises:
        ValueError: a number of buckets is not a whole number of at least 1.
    """

    def __init__(self, num_buckets: int | dict[str, int]) -> None:
        super().__init__()
        self.num_buckets = checked_buckets(num_buckets)

    def transform(self, col_selector: ColumnSelector, df: pd.DataFrame) -> pd.DataFrame:
        """int64 codes, one column for each cross."""
        crossed = {}
        for name, columns in self.column_mapping(col_selector).items():
            hashed = combine([hash_series(cast("pd.Series", df[column])) for column in columns])
            null: Any = df[columns].isna().all(axis=1)
            crossed[name] = bucket_codes(hashed, buckets_of(self.num_buckets, name), null)
        return pd.DataFrame(crossed, index=df.index)

    def column_mapping(self, col_selector: ColumnSelector) -> dict[str, list[str]]:
        """`a_X_b` is made of a and b."""
        groups = [group for group in col_selector.grouped_names if not isinstance(group, str)]
        if not groups:
            groups = [tuple(col_selector.names)]
        return {"_X_".join(group): list(group) for group in groups}

    def _compute_properties(self, col_schema: ColumnSchema, input_schema: Schema) -> ColumnSchema:
        return col_schema.with_properties(bucket_properties(buckets_of(self.num_buckets, col_schema.name)))

    @property
    def output_tags(self) -> list[Tags]:
        """Categorical."""
        return [Tags.CATEGORICAL]

    @property
    def output_dtype(self) -> type:
        """int64, as Categorify has it."""
        return np.int64
