"""Operators on columns and scalars: pandas gives the dtype, and here is the expression for it."""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast, constant, either, null_of, sorted_keys, where
from .dtypes import expr_dtype, narrowed, operand, plain_scalar
from .refusals import TracingError

PYTHON: dict[str, Callable[[Any, Any], Any]] = {
    "add": operator.add,
    "sub": operator.sub,
    "mul": operator.mul,
    "div": operator.truediv,
    "floordiv": operator.floordiv,
    "mod": operator.mod,
    "pow": operator.pow,
    "eq": operator.eq,
    "ne": operator.ne,
    "lt": operator.lt,
    "le": operator.le,
    "gt": operator.gt,
    "ge": operator.ge,
    "and": operator.and_,
    "or": operator.or_,
    "xor": operator.xor,
}
_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
_LOGIC = {"and": "and", "or": "or", "xor": "ne"}
#: What numpy's arithmetic means of booleans.
_BOOLEAN = {"add": "or", "mul": "and"}
#: Powers of integers are products up to this one.
_HIGHEST_POWER = 63


def _may_be_zero(op: str, divisor: Any) -> bool:
    """Whether pandas looks for zeros in a divisor: the remainder by a boolean False stays numpy's 0."""
    if hasattr(divisor, "shadow"):
        return op == "floordiv" or divisor.shadow.dtype != bool
    return divisor == 0


def binary_expr(op: str, one: Any, two: Any, shadow: pd.Series) -> Expr:
    """The expression of `one op two`, columns or scalars, where pandas gives a column like `shadow`."""
    if "string" in (_dtype_of(one), _dtype_of(two)) and not _time_beside(one, two):
        return _equal_strings(op, one, two)
    if op in _COMPARISONS:
        return _comparison(op, one, two)
    if op in _LOGIC:
        if shadow.dtype != bool or {_dtype_of(one), _dtype_of(two)} != {"bool"}:
            raise TracingError("&, | and ^ of columns that are not boolean are not compiled: compare them first")
        return apply(_LOGIC[op], "bool", operand(one, "bool"), operand(two, "bool"))
    kind, dtype = shadow.dtype.kind, expr_dtype(shadow)
    if kind == "b":
        if op not in _BOOLEAN:
            raise TracingError(f"'{op}' of booleans is not compiled: make them integers with astype('int64')")
        return apply(_BOOLEAN[op], "bool", operand(one, "bool"), operand(two, "bool"))
    if kind == "m" and op in ("div", "floordiv", "mul"):
        raise TracingError(
            "a duration times or by a number is not compiled: make a number of it with .dt.total_seconds() first"
        )
    if op in ("floordiv", "mod") and {_dtype_of(one), _dtype_of(two)} <= {"int64", "bool"}:
        return narrowed(_whole_division(op, one, two), shadow)
    if op == "pow" and dtype == "int64":
        return narrowed(_power(one, two), shadow)
    return narrowed(apply(op, dtype, operand(one, dtype), operand(two, dtype)), shadow)


def _dtype_of(value: Any) -> str:
    """The kind that pandas sees: `string`, `bool`, `int64` (also times) or a float."""
    shadow = getattr(value, "shadow", None)
    if shadow is not None:
        return expr_dtype(shadow)
    plain = plain_scalar(value)
    if isinstance(plain, bool):
        return "bool"
    return {str: "string", int: "int64"}.get(type(plain), "float64")


def _time_beside(one: Any, two: Any) -> bool:
    """A date-time column beside text, which pandas reads as a date-time."""
    return any(getattr(side, "shadow", pd.Series(dtype=float)).dtype.kind in "mM" for side in (one, two))


def _comparison(op: str, one: Any, two: Any) -> Expr:
    dtype = _common(one, two)
    left, right = operand(one, dtype), operand(two, dtype)
    compared = apply(op, "bool", left, right)
    if dtype.startswith("float"):  # NaN compares as null does
        return compared
    null = either(null_of(side) for side in (left, right))
    if null is None:
        return compared
    if op == "ne":  # as NaN != NaN
        return apply("or", "bool", compared, null)
    return apply("and", "bool", compared, apply("not", "bool", null))


def _common(one: Any, two: Any) -> str:
    """The dtype that numpy compares in: a scalar changes it as its kind asks, not its size."""
    if _time_beside(one, two):
        return "int64"
    numpy_form = [np.empty(1, side.shadow.dtype) if hasattr(side, "shadow") else _number(side) for side in (one, two)]
    dtype = np.result_type(*numpy_form)
    return "int64" if dtype.kind in "iub" else dtype.name


def _number(value: Any) -> Any:
    plain = plain_scalar(value)
    return np.nan if plain is None else plain


def _equal_strings(op: str, one: Any, two: Any) -> Expr:
    column, value = (one, two) if hasattr(one, "expr") else (two, one)
    if op not in ("eq", "ne") or not isinstance(value, str):
        raise TracingError(
            "of text only == and != with a constant are compiled, and isin(): compute the rest before the workflow"
        )
    keys = np.array([value], dtype=object)
    same = Expr("encode", (column.expr,), "int64", {"default": 0}, sorted_keys(keys, np.ones(1, np.int64)))
    return cast(same, "bool") if op == "eq" else apply("not", "bool", cast(same, "bool"))


def _whole_division(op: str, one: Any, two: Any) -> Expr:
    """// and % of integers: floored; by zero as pandas, infinite or NaN, so that a column as divisor gives floats."""
    left, right = operand(one, "int64"), operand(two, "int64")
    quotient = apply(op, "int64", left, right)
    if not _may_be_zero(op, two):
        return quotient
    infinite = apply("div", "float64", cast(left, "float64"), cast(right, "float64"))
    zero = apply("eq", "bool", right, constant(0, "int64"))
    return where(zero, infinite if op == "floordiv" else constant(None, "float64"), cast(quotient, "float64"))


def _power(one: Any, two: Any) -> Expr:
    """A whole power of integers, exact."""
    power = None if hasattr(two, "expr") else plain_scalar(two)
    if power is None or not 0 <= power <= _HIGHEST_POWER:
        raise TracingError(
            f"integers to powers other than constants from 0 to {_HIGHEST_POWER} are not compiled: make one of them float64"
        )
    return apply("pow", "int64", operand(one, "int64"), constant(power, "int64"))
