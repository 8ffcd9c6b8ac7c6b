"""Categorify: values to codes; 0 padding, 1 null, 2 unknown, then the vocabulary."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from nvtabular import ops

from ...runtime.codes import FIRST_ITEM, NULL, UNKNOWN
from ..columns import Column, Table
from ..expressions import Expr, encode
from ..registry import Inputs, lowering, refused


@lowering(ops.Categorify)
def lower(operator: ops.Categorify, inputs: Inputs) -> Table:
    """Each column by its vocabulary file, whose index is the code."""
    encoded: Table = {}
    mapping: dict[str, Any] = operator.column_mapping(inputs.selector)
    for name, group in mapping.items():
        columns = [group] if isinstance(group, str) else list(group)
        if len(columns) != 1 or operator.encode_type == "combo":
            raise refused(operator, columns, "columns encoded in combination are not compiled yet: join them into one "
                          "column before the workflow, or serve with --features nvtabular")  # fmt: skip
        encoded[name] = _encoded(operator, name, inputs.table[columns[0]])
    return encoded


def _encoded(operator: ops.Categorify, name: str, column: Column) -> Column:
    _refuse_options(operator, name)
    storage = operator.storage_name.get(name, name) if operator.encode_type == "joint" else name
    table = pd.read_parquet(operator.categories[storage])
    if len(table) and table.index[0] < FIRST_ITEM:
        table.index += FIRST_ITEM
    keys, expr = vocabulary_keys(operator, name, table[storage], column)
    # NVTabular gives a null inside a list the code of the unknown.
    null = UNKNOWN if column.level == "list" else NULL
    codes = encode(expr, keys, table.index.to_numpy(np.int64), default=UNKNOWN, null=null)
    return column.becomes(codes, np.dtype(operator.output_dtype).name)


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
        raise refused(operator, [name], "single_table shifts all codes: fit it without single_table")


def vocabulary_keys(operator: Any, name: str, values: pd.Series, column: Column) -> tuple[np.ndarray, Expr]:
    """The vocabulary in the dtype of the expression that is looked up, and that expression."""
    expr = column.expr
    if expr.dtype == "string":
        return values.to_numpy(dtype=object), expr
    if values.dtype == object:
        raise refused(operator, [name], f"its vocabulary holds strings but the column is {column.dtype}: fit it again")
    if values.dtype.kind == "f" and not expr.dtype.startswith("float"):
        values = values.astype(np.int64)  # integers that had null in training
    if expr.dtype.startswith("float"):
        expr = whole_behind(expr) or expr
    if not expr.dtype.startswith("float"):
        return values.to_numpy().astype(np.int64), expr
    raise refused(
        operator, [name], f"it encodes {column.dtype} numbers, whose equality depends on the last bit: turn the column into "
        "integers or strings before fitting"
    )  # fmt: skip


def whole_behind(expr: Expr) -> Expr | None:
    """The integers that a float expression only casts: pandas' form of an integer column with null."""
    if expr.op == "where" and expr.args[1].op == "constant" and expr.args[1].settings["value"] is None:
        expr = expr.args[2]
    return expr.args[0] if expr.op == "cast" and not expr.args[0].dtype.startswith("float") else None
