"""The rows of a fitted table by the values of its key columns: vocabularies, statistics, joined tables."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from .expressions import Column, Expr, apply, constant, null_of, sorted_keys, where, with_null
from .registry import refused

_LIMITS = np.iinfo(np.int64)
# A column's code in a key of several columns: 0 for what no row holds, 1 for null, then its values.
_NULL, _FIRST = 1, 2


class Rows:
    """The row of a table whose key columns hold a request's values.

    columns: what is looked up, beside `keys`, one column of values each. Null is a value like others where a row holds it,
    as it is to pandas' merge. Raises UnsupportedWorkflow if two rows have the same keys, or if keys and columns have types
    that are never equal.
    """

    def __init__(self, operator: Any, names: list[str], columns: list[Column], keys: pd.DataFrame) -> None:
        if keys.duplicated().any():
            twice = keys[keys.duplicated()].iloc[0].tolist()
            raise refused(
                operator, names, f"its table holds {', '.join(map(str, twice))} more than once: keep one row of each"
            )
        series = [values for _, values in keys.items()]
        self._null_key: int | None = None
        if len(columns) == 1:
            self._expr, self._keys, self._kept = _single(operator, names[0], columns[0], series[0])
            self._null_row = np.flatnonzero(series[0].isna().to_numpy())
            return
        parts = [_coded(operator, *part) for part in zip(names, columns, series, strict=True)]
        self._null_key = _all_null(parts)
        self._expr, of_rows = _mixed(operator, names, parts)
        self._null_row = np.flatnonzero(of_rows == self._null_key)
        self._kept = np.flatnonzero((of_rows > 0) & (of_rows != self._null_key))
        self._keys = of_rows[self._kept]

    def value(self, values: np.ndarray, missing: Any, null: Any) -> Expr:
        """The value beside the row.

        values: one for each row: int64, float32, float64, or str objects. missing: what there is where no row matches; the
        smallest int64 makes integers that may be null. null: where all keys are null and no row holds that.
        """
        if values.dtype == object:
            values = np.array([value.encode() for value in values.tolist()] or [b""], dtype=np.bytes_)[: len(values)]
        if len(self._null_row):
            null = values[self._null_row[0]].item()
            null = null.decode() if isinstance(null, bytes) else null
        return found_value(self._expr, self._keys, values[self._kept], missing, null, self._null_key)


def found_value(
    expr: Expr, keys: np.ndarray, values: np.ndarray, missing: Any, null: Any, null_key: Any = None
) -> Expr:
    """`values` beside `keys`, `missing` for what is no key, `null` for null, which `null_key` stands for if not None."""
    dtype = "string" if values.dtype.kind == "S" else values.dtype.name
    nullable = dtype == "int64" and missing == NULL_INT64
    if expr.dtype == "string":
        null_key = NULL_STRING
    elif expr.op == "raw" and len(keys) and null_key is None:  # one more key is cheaper than a comparison
        null_key = NULL_INT64
        keys, values = keys[keys != null_key], values[keys != null_key]
    elif null_key is None and nullable and null == NULL_INT64:
        expr = with_null(expr)  # which is no key
    if null_key is not None:
        keys = np.append(keys, np.array([null_key], dtype=keys.dtype))
        values = np.append(values, np.array([null.encode() if dtype == "string" else null], dtype=values.dtype.char))
    default = None if missing is not None and missing != missing else missing
    op = "lookup" if nullable else "encode"
    found = Expr(op, (expr,), dtype, {"default": default}, sorted_keys(keys, values))
    empty = null_of(expr) if null_key is None and null != missing else None
    return found if empty is None else where(empty, constant(null, dtype), found)


def _single(operator: Any, name: str, column: Column, values: pd.Series) -> tuple[Expr, np.ndarray, np.ndarray]:
    """The expression that is looked up, the keys that it can have, and which of the values they are."""
    expr, present = column.expr, values.notna().to_numpy()
    kept = np.flatnonzero(present)
    if expr.dtype == "string":
        keys = values.to_numpy(dtype=object)[kept]
        other = next((key for key in keys if not isinstance(key, str)), None)
        if other is not None:
            raise refused(operator, [name], f"its vocabulary holds {other!r}, a {type(other).__name__}, but the column has "
                          "strings: fit it again")  # fmt: skip
        return expr, keys, kept
    if expr.dtype.startswith("float"):
        expr = whole_behind(expr) or expr
    if expr.dtype.startswith("float"):
        raise refused(operator, [name], f"it encodes {column.dtype} numbers, whose equality depends on the last bit: turn "
                      "the column into integers or strings before fitting")  # fmt: skip
    whole = [_whole(value) for value in values.to_numpy(dtype=object)[kept]]
    if any(isinstance(value, str) for value in whole):
        raise refused(operator, [name], f"its vocabulary holds strings but the column is {column.dtype}: fit it again")
    possible = np.array([value is not None for value in whole], dtype=bool)
    return expr, np.array([value for value in whole if value is not None], dtype=np.int64), kept[possible]


def _whole(value: Any) -> Any:
    """An int that a request can hold; a str as it is; None for other numbers, which no integer equals."""
    if isinstance(value, str):
        return value
    if isinstance(value, (pd.Timestamp, np.datetime64)):
        return pd.Timestamp(value).value
    whole = int(value)
    return whole if whole == value and _LIMITS.min <= whole <= _LIMITS.max else None


def whole_behind(expr: Expr) -> Expr | None:
    """The integers that a float expression only casts: pandas' form of an integer column with null."""
    if expr.op == "where" and expr.args[1].op == "constant" and expr.args[1].attributes["value"] is None:
        expr = expr.args[2]
    return expr.args[0] if expr.op == "cast" and not expr.args[0].dtype.startswith("float") else None


def _coded(operator: Any, name: str, column: Column, values: pd.Series) -> tuple[Expr, np.ndarray, int]:
    """A column's codes as an expression, those of the table's rows, and how many codes there are."""
    expr, keys, kept = _single(operator, name, column, values)
    known, codes = np.unique(keys, return_inverse=True)
    of_rows = np.where(values.isna().to_numpy(), _NULL, 0).astype(np.int64)
    of_rows[kept] = codes + _FIRST
    beside = np.arange(_FIRST, _FIRST + len(known), dtype=np.int64)
    return found_value(expr, known, beside, 0, _NULL), of_rows, _FIRST + len(known)


def _mixed(operator: Any, names: list[str], parts: list[tuple[Expr, np.ndarray, int]]) -> tuple[Expr, np.ndarray]:
    """One number for the codes of several columns, by mixed radix; of the table's rows 0 where a request cannot have it."""
    total = 1
    for _, _, size in parts:
        total *= size
    if total > _LIMITS.max:
        raise refused(operator, names, f"its columns have {total:.1g} combinations, more than an integer can count: "
                      "combine fewer columns")  # fmt: skip
    mixed, of_rows, _ = parts[0]
    possible = of_rows > 0
    for expr, codes, size in parts[1:]:
        mixed = apply("add", "int64", apply("mul", "int64", mixed, constant(size, "int64")), expr)
        of_rows = of_rows * size + codes
        possible &= codes > 0
    return mixed, np.where(possible, of_rows, 0)


def _all_null(parts: list[tuple[Expr, np.ndarray, int]]) -> int:
    key = 0
    for _, _, size in parts:
        key = key * size + _NULL
    return key


def joined_column(rows: Rows, values: pd.Series, like: Column) -> Column | None:
    """A column of the table beside the rows, null where none matches; None for types that no feature can have."""
    kind = values.dtype.kind
    null = values.isna().to_numpy()
    if kind == "f":
        return like.becomes(rows.value(values.to_numpy(), None, None), values.dtype.name)
    if kind == "O" and all(isinstance(value, str) for value in values[~null]):
        strings = np.where(null, NULL_STRING, values.to_numpy(dtype=object))
        return like.becomes(rows.value(strings, NULL_STRING, NULL_STRING), "string")
    if kind not in "iubM":
        return None
    dtype = {"b": "bool", "M": "datetime"}.get(kind, values.dtype.name.lower())
    whole = np.array([NULL_INT64 if n else _whole(v) for v, n in zip(values, null, strict=True)], dtype=object)
    if any(value is None for value in whole):
        return None
    return like.becomes(rows.value(whole.astype(np.int64), NULL_INT64, NULL_INT64), dtype)
