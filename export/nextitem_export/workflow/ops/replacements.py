"""nextitem_training's replacements for operators of NVTabular that cannot be repeated.

Known by name, so that an export of anybody's workflow does not need the training package. Its Groupby is NVTabular's with a
stable sort, and compiled as that one is.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from nextitem_bundle.runtime.features.hashing import PRIME
from nextitem_bundle.runtime.special_ids import NULL

from ..expressions import LIST, Column, Expr, Table, apply, cast, constant, null_of, where
from ..matching import Rows, whole_behind
from ..registry import Inputs, lowering_by_name, refused

# The hash is defined in nextitem_training/operators/hashing.py; export's tests compare the two.
_LOW, _HIGH, _SHIFT, _COMBINE = 1_103_515_245, 1_664_525_011, 1_013_904_223, 1_220_703_125
_HALF = 2**31
_FIRST_BUCKET = NULL + 1
_FALSE = constant(False, "bool")


@lowering_by_name("nextitem_training.operators.hash_bucket.HashBucket")
def hash_bucket(operator: Any, inputs: Inputs) -> Table:
    """Null gets its code, any other value a bucket by its hash."""
    buckets = operator.num_buckets
    coded: Table = {}
    for name, column in inputs.selected.items():
        number = buckets if isinstance(buckets, int) else buckets[name]
        coded[name] = _bucket(column, _hash(operator, name, column), null_of(column.expr), number)
    return coded


@lowering_by_name("nextitem_training.operators.hashed_cross.HashedCross")
def hashed_cross(operator: Any, inputs: Inputs) -> Table:
    """Null counts as the hash 0; where all columns are null, the code is null's."""
    buckets = operator.num_buckets
    crossed: Table = {}
    mapping: dict[str, list[str]] = operator.column_mapping(inputs.selector)
    for name, columns in mapping.items():
        mixed, all_null = _whole(0), constant(True, "bool")
        for column in (inputs.table[source] for source in columns):
            hashed = _hash(operator, name, column)
            null = null_of(column.expr)
            hashed = hashed if null is None else where(null, _whole(0), hashed)
            mixed = _mod(_add(_mul(mixed, _COMBINE), hashed, _SHIFT), PRIME)
            all_null = apply("and", "bool", all_null, null or _FALSE)
        number = buckets if isinstance(buckets, int) else buckets[name]
        crossed[name] = _bucket(inputs.table[columns[0]], _fifth_power(mixed), all_null, number)
    return crossed


@lowering_by_name("nextitem_training.operators.target_encoding.TargetEncoding")
def target_encoding(operator: Any, inputs: Inputs) -> Table:
    """The mean beside each value; the mean of all for null and for what fitting never saw."""
    encoded: Table = {}
    mapping: dict[str, list[str]] = operator.column_mapping(inputs.selector)
    for name, sources in mapping.items():
        columns, dtype = [inputs.table[source] for source in sources], np.dtype(operator.out_dtype).name
        for source, column in zip(sources, columns, strict=True):
            _refuse_lists(operator, source, column)
        table = operator.means[name]
        mean = np.dtype(dtype).type(operator.mean).item()
        rows = Rows(operator, sources, columns, table[sources])
        encoded[name] = columns[0].becomes(rows.value(table["mean"].to_numpy(dtype), mean, mean), dtype)
    return encoded


def _bucket(column: Column, hashed: Expr, null: Expr | None, buckets: int) -> Column:
    code = _add(_mod(hashed, buckets), _FIRST_BUCKET)
    return column.becomes(code if null is None else where(null, _whole(NULL), code), "int64")


def _hash(operator: Any, name: str, column: Column) -> Expr:
    """int64, 0 to PRIME - 1; anything for null."""
    _refuse_lists(operator, name, column)
    expr = column.expr
    if expr.dtype == "string":
        return apply("hash_string", "int64", expr)
    if expr.dtype.startswith("float"):
        whole = whole_behind(expr)
        if whole is None:
            raise refused(operator, [name], f"it hashes {column.dtype} numbers, whose equality depends on the last bit: "
                          "bin the column or make it integer before")  # fmt: skip
        expr = whole
    expr = cast(expr, "int64")
    low, high = _mod(expr, _HALF), apply("floordiv", "int64", expr, _whole(_HALF))
    return _fifth_power(_mod(_add(_mul(low, _LOW), _mul(_mod(high, PRIME), _HIGH), _SHIFT), PRIME))


def _refuse_lists(operator: Any, name: str, column: Column) -> None:
    if column.level == LIST:
        raise refused(operator, [name], "it takes no lists: apply it before the Groupby")


def _fifth_power(expr: Expr) -> Expr:
    square = _mod(_mul(expr, expr), PRIME)
    return _mod(_mul(_mod(_mul(square, square), PRIME), expr), PRIME)


def _whole(value: int) -> Expr:
    return constant(value, "int64")


def _mod(expr: Expr, divisor: int) -> Expr:
    return apply("mod", "int64", expr, _whole(divisor))


def _mul(expr: Expr, by: Expr | int) -> Expr:
    return apply("mul", "int64", expr, _whole(by) if isinstance(by, int) else by)


def _add(expr: Expr, *others: Expr | int) -> Expr:
    for other in others:
        expr = apply("add", "int64", expr, _whole(other) if isinstance(other, int) else other)
    return expr
