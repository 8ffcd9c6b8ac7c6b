"""numpy's functions on columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast, constant, null_of, where
from . import refusals
from .choice import choose
from .dtypes import expr_dtype, operand
from .refusals import TracingError

if TYPE_CHECKING:
    from .column import SymbolicColumn

_BINARY = {
    np.add: "add",
    np.subtract: "sub",
    np.multiply: "mul",
    np.true_divide: "div",
    np.floor_divide: "floordiv",
    np.mod: "mod",
    np.power: "pow",
    np.equal: "eq",
    np.not_equal: "ne",
    np.less: "lt",
    np.less_equal: "le",
    np.greater: "gt",
    np.greater_equal: "ge",
    np.bitwise_and: "and",
    np.bitwise_or: "or",
    np.bitwise_xor: "xor",
}
_LOGICAL = {np.logical_and: "and", np.logical_or: "or", np.logical_xor: "xor"}

_UNARY = {
    np.negative: "neg",
    np.absolute: "abs",
    np.fabs: "abs",
    np.sign: "sign",
    np.exp: "exp",
    np.log: "log",
    np.sqrt: "sqrt",
    np.sin: "sin",
    np.cos: "cos",
    np.tanh: "tanh",
    np.floor: "floor",
    np.ceil: "ceil",
    np.rint: "round",
}

# Functions that are others in disguise.
_COMPOSED: dict[Any, Callable[[SymbolicColumn], SymbolicColumn]] = {
    np.square: lambda x: x * x,
    np.log2: lambda x: np.log(x) / np.log(2.0),
    np.log10: lambda x: np.log(x) / np.log(10.0),
    np.isnan: lambda x: x.isna(),
    np.isinf: lambda x: abs(x) == np.inf,
    np.isfinite: lambda x: ~(x.isna() | (abs(x) == np.inf)),
    np.logical_not: lambda x: ~x.astype(bool),
    np.invert: lambda x: ~x,
}

#: numpy's extremes, NaN if either is; the second pair ignores NaN.
_EXTREMES = {np.minimum: "minimum", np.maximum: "maximum", np.fmin: "minimum", np.fmax: "maximum"}


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], more: dict[str, Any]) -> SymbolicColumn:
    """A ufunc on columns and scalars. Raises TracingError where it is not compiled."""
    name = f"np.{ufunc.__name__}"
    if method != "__call__":
        raise TracingError(
            f"{name}.{method}() works across rows, which at serving are one request's: call {name}() alone"
        )
    if more:
        raise TracingError(
            f"{name}({', '.join(more)}=…) is not compiled: call {name}() on columns alone, and astype() behind"
        )
    if ufunc in _BINARY or ufunc in _LOGICAL:
        return _binary(ufunc, *inputs)
    if ufunc in _UNARY:
        return inputs[0].unary(_UNARY[ufunc], ufunc)
    if ufunc in _COMPOSED:
        return _COMPOSED[ufunc](inputs[0])
    if ufunc in _EXTREMES:
        return _extreme(ufunc, *inputs)
    if ufunc is np.log1p:
        return inputs[0].derive(ufunc, lambda shadow: _log1p(inputs[0], expr_dtype(shadow)), inputs[0])
    raise refusals.function(name)


def call_function(function: Any, args: tuple[Any, ...], more: dict[str, Any]) -> Any:
    """np.where, np.clip and np.round and some others; everything else raises TracingError."""
    if function is np.where and len(args) == 3:
        return choose(*args)
    if function is np.clip:
        return args[0].clip(*args[1:], **more)
    if function in (np.round, np.around, np.round_):  # pyright: ignore[reportAttributeAccessIssue]  numpy < 2 has it
        return args[0].round(*args[1:], **more)
    if function is np.isin:
        return args[0].isin(args[1])
    raise refusals.function(f"np.{function.__name__}")


def _binary(ufunc: Any, one: Any, two: Any) -> SymbolicColumn:
    if ufunc in _LOGICAL:  # of numbers as well
        one, two = (side.astype(bool) if hasattr(side, "shadow") else bool(side) for side in (one, two))
    op = _BINARY.get(ufunc) or _LOGICAL[ufunc]
    if hasattr(one, "shadow"):
        return one.binary(op, two)
    return two.binary(op, one, swapped=True)


def _extreme(ufunc: Any, one: Any, two: Any) -> SymbolicColumn:
    column = one if hasattr(one, "shadow") else two

    def build(shadow: pd.Series) -> Expr:
        dtype = expr_dtype(shadow)
        left, right = operand(one, dtype), operand(two, dtype)
        if dtype == "bool":
            return apply("and" if _EXTREMES[ufunc] == "minimum" else "or", "bool", left, right)
        best = apply(_EXTREMES[ufunc], dtype, left, right)
        if ufunc in (np.fmin, np.fmax):
            for side, other in ((left, right), (right, left)):
                null = null_of(side)
                best = best if null is None else where(null, other, best)
        return best

    return column.derive(ufunc, build, one, two)


def _log1p(column: SymbolicColumn, dtype: str) -> Expr:
    """log(1 + x) without losing small x (Kahan): log(u) x / (u - 1), u = 1 + x."""
    x, one = cast(column.expr, dtype), constant(1, dtype)
    u = apply("add", dtype, x, one)
    corrected = apply("div", dtype, apply("mul", dtype, apply("log", dtype, u), x), apply("sub", dtype, u, one))
    endless = apply("eq", "bool", u, constant(np.inf, dtype))
    return where(apply("eq", "bool", u, one), x, where(endless, u, corrected))
