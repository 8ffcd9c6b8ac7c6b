"""JoinGroupby: statistics of numbers over all training rows that have the same keys."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pandas as pd
from nvtabular import ops

from ..expressions import INTERACTION, Column, Table
from ..matching import Rows, joined_column
from ..registry import Inputs, lowering, refused

_SINGLE = ("std", "var", "mean")  # float32, whatever is in the table


@lowering(ops.JoinGroupby)
def lower(operator: ops.JoinGroupby, inputs: Inputs) -> Table:
    """Keys that training has not seen have the count 0, where NVTabular raises, and null for all other statistics."""
    joined: Table = {}
    for group in inputs.selector.grouped_names:
        names = [group] if isinstance(group, str) else list(group)
        columns = [inputs.table[name] for name in names]
        if any(column.level != INTERACTION for column in columns):
            raise refused(operator, names, "it joins to lists or sessions: join before the Groupby")
        joined.update(_statistics(operator, names, columns))
    return joined


def _statistics(operator: Any, names: list[str], columns: list[Column]) -> Table:
    storage = operator.name_sep.join(names)
    table = pd.read_parquet(operator.categories[storage])
    rows = Rows(operator, names, columns, cast("pd.DataFrame", table[names]))
    found: Table = {}
    for name in table.columns.drop(names):
        statistic = name.rsplit(operator.name_sep, 1)[-1]
        if statistic == "count":
            found[name] = columns[0].becomes(rows.value(table[name].to_numpy(np.int64), 0, 0), "int32")
            continue
        values = table[name].astype(np.float32) if statistic in _SINGLE else table[name]
        column = joined_column(rows, cast("pd.Series", values), columns[0])
        assert column is not None  # statistics are numbers
        found[name] = column
    return found
