"""TargetEncoding: the smoothed mean of a target over the training rows that have the same value."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from nvtabular import ops

from ..expressions import INTERACTION, Table
from ..matching import Rows
from ..registry import Inputs, lowering, refused


@lowering(ops.TargetEncoding)
def lower(operator: ops.TargetEncoding, inputs: Inputs) -> Table:
    """The mean of all for values that training has not seen; the target itself is not read."""
    if operator.kfold > 1:
        raise refused(operator, inputs.names, f"with kfold={operator.kfold} its folds are drawn by row position, so that "
                      "equal values get different numbers: fit it with kfold=1")  # fmt: skip
    encoded: Table = {}
    for group in inputs.selector.grouped_names:
        names = [group] if isinstance(group, str) else list(group)
        columns = [inputs.table[name] for name in names]
        if any(column.level != INTERACTION for column in columns):
            raise refused(operator, names, "it encodes no lists or sessions: encode before the Groupby")
        storage = operator.name_sep.join(names)
        table = pd.read_parquet(operator.stats[storage])
        rows = Rows(operator, names, columns, cast("pd.DataFrame", table[names]))
        for target in operator.target_columns:
            dtype, mean, values = _means(operator, table, storage, target)
            encoded[f"TE_{storage}_{target}"] = columns[0].becomes(rows.value(values, mean, mean), dtype)
    return encoded


def _means(operator: Any, table: pd.DataFrame, storage: str, target: str) -> tuple[str, float, np.ndarray]:
    """The output's dtype, the mean of all in it, and that of each row of the table."""
    separator, smooth = operator.name_sep, operator.p_smooth
    mean = (operator.target_mean or operator.means)[target]
    counts, sums = table[f"{storage}{separator}count"], table[f"{storage}{separator}{target}{separator}sum"]
    dtype = np.dtype(operator.output_dtype)
    means = ((sums + smooth * mean) / (counts + smooth)).fillna(mean).to_numpy(dtype)
    return dtype.name, dtype.type(mean).item(), means
