"""Categorify: values to codes; 0 padding, 1 null, 2 unknown, then the vocabulary."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
from nvtabular import ops

from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, UNKNOWN
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from ..expressions import LIST, Column, Table
from ..matching import Rows
from ..registry import Inputs, lowering, refused


@lowering(ops.Categorify)
def lower(operator: ops.Categorify, inputs: Inputs) -> Table:
    """Each column, or combination of columns, by its vocabulary file, whose index is the code."""
    encoded: Table = {}
    mapping: dict[str, Any] = operator.column_mapping(inputs.selector)
    for name, group in mapping.items():
        names = [group] if isinstance(group, str) else list(group)
        if names == [inputs.context.session_column]:  # a request has no session ids, and keeps its sessions apart
            encoded[name] = inputs.table[names[0]]
            continue
        _refuse_options(operator, name)
        encoded[name] = _encoded(operator, name, names, [inputs.table[source] for source in names])
    return encoded


def _encoded(operator: ops.Categorify, name: str, names: list[str], columns: list[Column]) -> Column:
    storage = operator.storage_name.get(name, name) if operator.encode_type == "joint" else name
    table = _read_vocabulary(operator.categories[storage])
    keys = cast("pd.DataFrame", table[names if len(names) > 1 else [storage]])
    _refuse_null_values(operator, names, keys)
    in_lists = columns[0].level == LIST
    if in_lists and len(columns) > 1:
        raise refused(operator, names, "NVTabular combines no lists: encode the combination before the Groupby")
    codes = table.index.to_numpy(np.int64)
    # NVTabular gives a null inside a list the code of the unknown.
    found = Rows(operator, names, columns, keys).value(codes, UNKNOWN, UNKNOWN if in_lists else NULL)
    return columns[0].becomes(found, np.dtype(operator.output_dtype).name)


def _read_vocabulary(path: str) -> pd.DataFrame:
    """The vocabulary with its codes as index."""
    if Path(path).is_dir():  # one file for each partition, each with its own part of the codes
        parts = sorted(Path(path).glob("part.*.parquet"), key=lambda part: int(part.name.split(".")[1]))
        table = pd.concat([pd.read_parquet(part) for part in parts])
    else:
        table = pd.read_parquet(path)
    if len(table) and table.index.to_numpy()[0] < FIRST_ITEM:
        table.index += FIRST_ITEM
    return table


def _refuse_options(operator: ops.Categorify, name: str) -> None:
    buckets = operator.num_buckets
    if (buckets.get(name) if isinstance(buckets, dict) else buckets) not in (None, 0, 1):
        raise refused(
            operator,
            [name],
            "num_buckets hashes the value together with its row, so that equal values get different codes: fit it without "
            "num_buckets",
        )
    if operator.single_table:
        raise refused(
            operator,
            [name],
            "with single_table NVTabular gives null and unknown values the codes of the two most frequent values: fit it "
            "without single_table",
        )


def _refuse_null_values(operator: ops.Categorify, names: list[str], keys: pd.DataFrame) -> None:
    for name, column in zip(names, keys.columns, strict=True):
        values = keys[column]
        null = NULL_STRING if values.dtype == object else NULL_INT64
        if any(value == null for value in values.dropna().tolist()):
            raise refused(operator, [name], f"its vocabulary holds {null!r}, which means null in a request: turn it into "
                          "null before fitting")  # fmt: skip
