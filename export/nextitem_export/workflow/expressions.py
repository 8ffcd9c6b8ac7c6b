"""Columns and the expressions over them: what a workflow computes, before it is known where each part is computed.

An expression is elementwise over the interactions of a session, or a number per session (`reduce`, `first`, `last`). It says
nothing of sorting and slicing: the scheduler evaluates it on just the interactions that are kept.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import numpy as np

from nextitem_bundle.runtime.features.program import Attribute
from nextitem_bundle.runtime.wire import NULL_INT64

INTERACTION, SESSION, LIST = "interaction", "session", "list"

#: What ends a raw integer's null: the operations below never give the smallest int64 for it.
_NEVER_NULL = {"encode", "bucketize", "is_null", "constant", "reduce", "eq", "ne", "lt", "le", "gt", "ge"}


@dataclasses.dataclass(frozen=True, eq=False)
class Expr:
    """One operation of `runtime.kernels`, or `raw`, `first`, `last`, which the scheduler resolves.

    dtype: numpy's name, or `string`. Compared by identity: shared subexpressions are computed once.
    """

    op: str
    args: tuple[Expr, ...]
    dtype: str
    attributes: Mapping[str, Attribute] = dataclasses.field(default_factory=dict)
    arrays: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)

    @functools.cached_property
    def level(self) -> str:
        """`session` for one value a session, else `interaction`. Constants fit both and count as session."""
        if self.op in ("reduce", "first", "last", "constant"):
            return SESSION
        if self.op == "raw" or any(arg.level == INTERACTION for arg in self.args):
            return INTERACTION
        return SESSION

    @functools.cached_property
    def null(self) -> Expr | None:
        """See `null_of`; worked out once, since expressions share their parts."""
        return _null_of(self)


def raw(name: str, dtype: str) -> Expr:
    """A raw column as it comes on the wire: `string`, int64 (also booleans and date-times) or float32."""
    return Expr("raw", (), dtype, {"name": name})


def constant(value: Any, dtype: str) -> Expr:
    """A scalar; None or NaN is null."""
    if dtype == "string":
        return Expr("constant", (), dtype, {"value": value})
    if value is not None and not np.isnan(value):
        return Expr("constant", (), dtype, {"value": np.dtype(dtype).type(value).item()})
    if _is_integer(dtype):  # the number alone is no null: date-times that were made numbers have it
        return Expr("constant", (), dtype, {"value": NULL_INT64, "null": True})
    return Expr("constant", (), dtype, {"value": None})


def apply(op: str, dtype: str, *args: Expr, **attributes: Attribute) -> Expr:
    """An operation without constant arrays."""
    return Expr(op, args, dtype, attributes)


def cast(expr: Expr, dtype: str) -> Expr:
    """The values in another dtype; a null integer becomes NaN in floats."""
    if expr.dtype == dtype:
        return expr
    changed = Expr("cast", (expr,), dtype)
    null = null_of(expr) if _is_integer(expr.dtype) and dtype.startswith("float") else None
    return changed if null is None else where(null, constant(np.nan, dtype), changed)


def where(condition: Expr, yes: Expr, no: Expr) -> Expr:
    """yes where the condition holds, else no; both of one dtype."""
    return Expr("where", (condition, yes, no), yes.dtype)


def lookup(expr: Expr, keys: np.ndarray, values: np.ndarray, default: Any) -> Expr:
    """The value beside each key, `default` for what is no key.

    keys: any order, unique; strings as an object array. values: int64 or a float. Null in integers stays null.
    """
    return Expr("lookup", (expr,), values.dtype.name, {"default": default}, sorted_keys(keys, values))


def sorted_keys(keys: np.ndarray, values: np.ndarray) -> dict[str, np.ndarray]:
    """The constant arrays of a lookup: keys in rising order, strings as UTF-8 bytes, and the value beside each."""
    if keys.dtype == object:
        # No request may hold a NUL, and numpy takes one at the end of a string for padding.
        sent = np.array(["\0" not in key for key in keys.tolist()], dtype=bool)
        values = values[sent]
        keys = np.array([key.encode() for key in keys[sent].tolist()], dtype=np.bytes_)
    order = np.argsort(keys, kind="stable")
    return {"keys": keys[order], "values": values[order]}


def null_of(expr: Expr) -> Expr | None:
    """A boolean expression that is true where `expr` is null; None where it never is."""
    return expr.null


def _null_of(expr: Expr) -> Expr | None:
    if expr.dtype == "string" or expr.dtype.startswith("float"):
        return apply("is_null", "bool", expr)
    if expr.op == "raw":
        return apply("is_null", "bool", expr)
    if expr.op == "lookup" and expr.attributes["default"] == NULL_INT64:
        return apply("is_null", "bool", expr)
    if expr.op == "constant" and expr.attributes.get("null"):
        return constant(True, "bool")
    if expr.op in _NEVER_NULL:
        return None
    if expr.op == "where":  # a condition is never null
        condition, yes, no = expr.args
        sides = [null_of(yes), null_of(no)]
        if sides == [None, None]:
            return None
        false = constant(False, "bool")
        return where(condition, sides[0] or false, sides[1] or false)
    return either(null_of(arg) for arg in expr.args if _is_integer(arg.dtype))


def either(conditions: Any) -> Expr | None:
    """True where any of the conditions (None is never) holds; None without one."""
    found: Expr | None = None
    seen: set[int] = set()
    for condition in conditions:
        if condition is None or _key(condition) in seen:
            continue
        seen.add(_key(condition))
        found = condition if found is None else apply("or", "bool", found, condition)
    return found


def _key(condition: Expr) -> int:
    # is_null of one raw column is made anew each time that it is asked for.
    return id(condition.args[0]) if condition.op == "is_null" else id(condition)


def with_null(expr: Expr) -> Expr:
    """An integer expression with the smallest int64 where it is null, as raw integers have it."""
    null = null_of(expr) if _is_integer(expr.dtype) and expr.op != "raw" else None
    return expr if null is None else where(null, constant(np.iinfo(np.int64).min, expr.dtype), expr)


def _is_integer(dtype: str) -> bool:
    return dtype.startswith(("int", "uint")) or dtype == "bool"


@dataclasses.dataclass(frozen=True)
class Column:
    """One column: what it computes, at which level, and the dtype that pandas has for it at this point.

    dtype: `string`, `datetime`, `bool` or numpy's name, of the elements where the level is `list`. sort: what the sessions
    are sorted by, and start, stop: the slice of a list that is kept; both for lists alone. lineage: the operators behind
    the column, from first to last, for `--explain`.
    """

    expr: Expr
    level: str
    dtype: str
    sort: tuple[Expr, ...] = ()
    start: int | None = None
    stop: int | None = None
    lineage: tuple[str, ...] = ()

    def becomes(self, expr: Expr, dtype: str) -> Column:
        """The same column after an elementwise operation."""
        return dataclasses.replace(self, expr=expr, dtype=dtype)


Table = dict[str, Column]
