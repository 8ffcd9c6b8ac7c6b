"""numpy's functions on columns."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .column import SymbolicColumn, TracingError, choose

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
    np.logical_and: "and",
    np.logical_or: "or",
}

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
    np.logical_not: "not",
}

# Functions that are others in disguise.
_COMPOSED: dict[Any, Callable[[SymbolicColumn], SymbolicColumn]] = {
    np.log1p: lambda x: np.log(x + 1),
    np.expm1: lambda x: np.exp(x) - 1,
    np.square: lambda x: x * x,
    np.log2: lambda x: np.log(x) / np.log(2.0),
    np.log10: lambda x: np.log(x) / np.log(10.0),
    np.isnan: lambda x: x.isna(),
    np.deg2rad: lambda x: x * (np.pi / 180.0),
    np.radians: lambda x: x * (np.pi / 180.0),
}

_BOUNDS = {np.minimum: "le", np.maximum: "ge", np.fmin: "le", np.fmax: "ge"}


def call_ufunc(ufunc: Any, method: str, inputs: tuple[Any, ...], more: dict[str, Any]) -> SymbolicColumn:
    """A ufunc on columns and scalars. Raises TracingError where it is not compiled."""
    if method != "__call__" or more:
        raise TracingError(f"np.{ufunc.__name__}.{method} is not compiled: call np.{ufunc.__name__} on columns alone")
    if ufunc in _BINARY:
        one, two = inputs
        if isinstance(one, SymbolicColumn):
            return one.binary(_BINARY[ufunc], two)
        return two.binary(_BINARY[ufunc], one, swapped=True)
    if ufunc in _UNARY:
        return inputs[0].unary(_UNARY[ufunc], ufunc)
    if ufunc in _COMPOSED:
        return _COMPOSED[ufunc](inputs[0])
    if ufunc in _BOUNDS:
        one, two = inputs
        column, other = (one, two) if isinstance(one, SymbolicColumn) else (two, one)
        # The comparison is false for NaN in the column, which stays, as numpy has it.
        kept = column.binary(_BOUNDS[ufunc], other) | column.isna()
        return choose(kept, column, other)
    raise TracingError(f"np.{ufunc.__name__} is not compiled: compute the column before the workflow and send it")


def call_function(function: Any, args: tuple[Any, ...], more: dict[str, Any]) -> SymbolicColumn:
    """np.where, np.clip and np.round; everything else raises TracingError."""
    if function is np.where and len(args) == 3:
        return choose(*args)
    if function is np.clip:
        return args[0].clip(*args[1:], **more)
    if function in (np.round, np.around):
        return args[0].round(*args[1:], **more)
    raise TracingError(f"np.{function.__name__} is not compiled: compute the column before the workflow and send it")
