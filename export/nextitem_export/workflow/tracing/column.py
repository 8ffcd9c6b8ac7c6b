"""A column that records what is done to it.

Beside the expression it carries a *shadow*: three rows of pandas in the column's dtype, to which everything is done as well.
The result's dtype is read off the shadow, so that pandas' own rules of promotion hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast
from . import refusals
from .arithmetic import PYTHON, binary_expr
from .calendar import combined, folded_expr
from .dtypes import expr_dtype, narrowed
from .functions import call_function, call_ufunc
from .methods import SeriesMethods
from .refusals import TracingError


class SymbolicColumn(SeriesMethods):
    """Stands for a pandas Series while a function is traced: dtype, arithmetic, comparisons, ufuncs and common methods."""

    __array_priority__ = 1000  # numpy scalars on the left leave the operation to us
    ndim = 1
    __hash__ = None  # type: ignore[assignment]  equality is elementwise

    def __init__(self, expr: Expr, shadow: pd.Series, name: str | None = None) -> None:
        self.expr = expr
        self.shadow = shadow
        self.name = name

    @staticmethod
    def derive(function: Callable[..., Any], build: Callable[[pd.Series], Expr], *operands: Any) -> SymbolicColumn:
        """The column `function(*operands)`, elementwise, of columns and scalars.

        function: what pandas does, called with Series in the place of columns. build: the expression for a result in the
        dtype of the Series that it is given. Functions of one calendar field become a table and need no expression.
        """
        shadow = pd.Series(function(*(o.shadow if isinstance(o, SymbolicColumn) else o for o in operands)))
        fold = combined(operands, function)
        expr = build(shadow) if fold is None else folded_expr(fold)
        if expr.dtype == "float64" and shadow.dtype.kind in "iu":  # by what is in the rows, of which the shadow has few
            shadow = shadow.astype(np.float64)
        return SymbolicColumn(expr, shadow)

    @property
    def dtype(self) -> Any:
        """The dtype that pandas has for it."""
        return self.shadow.dtype

    def binary(self, op: str, other: Any, *, swapped: bool = False) -> SymbolicColumn:
        """self op other, or other op self; other a column or a scalar."""
        one, two = (other, self) if swapped else (self, other)
        return self.derive(PYTHON[op], lambda shadow: binary_expr(op, one, two, shadow), one, two)

    def unary(self, op: str, function: Callable[[Any], Any]) -> SymbolicColumn:
        """A function of one column, computed in the dtype that pandas gives it."""

        def build(shadow: pd.Series) -> Expr:
            dtype = expr_dtype(shadow)
            if dtype == "bool" and op in ("abs", "neg"):
                return cast(self.expr, "bool") if op == "abs" else apply("not", "bool", cast(self.expr, "bool"))
            return narrowed(apply(op, dtype, cast(self.expr, dtype)), shadow)

        return self.derive(function, build, self)

    def __invert__(self) -> SymbolicColumn:
        if self.shadow.dtype != bool:
            raise TracingError("~ of a column that is not boolean is not compiled: compare it first")
        return self.unary("not", operator.invert)

    def __neg__(self) -> SymbolicColumn:
        return self.unary("neg", operator.neg)

    def __pos__(self) -> SymbolicColumn:
        return self

    def __abs__(self) -> SymbolicColumn:
        return self.unary("abs", operator.abs)

    def __round__(self, decimals: int = 0) -> SymbolicColumn:
        return self.round(decimals)

    def __divmod__(self, other: Any) -> tuple[SymbolicColumn, SymbolicColumn]:
        return self // other, self % other

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> SymbolicColumn:
        return call_ufunc(ufunc, method, inputs, more)

    def __array_function__(self, function: Any, types: Any, args: Any, more: Any) -> Any:
        return call_function(function, args, more)

    # What cannot be compiled.

    def __bool__(self) -> bool:
        raise TracingError(refusals.BRANCH)

    def __len__(self) -> int:
        raise TracingError(refusals.LENGTH)

    def __iter__(self) -> Any:
        raise TracingError(refusals.ITERATION)

    def __contains__(self, value: object) -> bool:
        raise TracingError(refusals.BRANCH)

    def __getitem__(self, key: Any) -> Any:
        raise TracingError(refusals.PICKS)

    def __setitem__(self, key: Any, value: Any) -> None:
        raise TracingError(refusals.PICKS)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise TracingError(refusals.ARRAY)

    def __float__(self) -> float:
        raise TracingError(refusals.ONE_NUMBER)

    def __int__(self) -> int:
        raise TracingError(refusals.ONE_NUMBER)

    def __index__(self) -> int:
        raise TracingError(refusals.ONE_NUMBER)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise refusals.attribute(name)


def _operators() -> None:
    for name in PYTHON:
        python = {"div": "truediv"}.get(name, name)
        setattr(SymbolicColumn, f"__{python}__", _method(name, swapped=False))
        if name not in ("eq", "ne", "lt", "le", "gt", "ge"):
            setattr(SymbolicColumn, f"__r{python}__", _method(name, swapped=True))
        # pandas has them as methods as well.
        if name not in ("and", "or", "xor"):
            setattr(SymbolicColumn, python, _method(name, swapped=False))
            setattr(SymbolicColumn, name, _method(name, swapped=False))


def _method(name: str, *, swapped: bool) -> Callable[..., SymbolicColumn]:
    def method(self: SymbolicColumn, other: Any) -> SymbolicColumn:
        return self.binary(name, other, swapped=swapped)

    return method


_operators()
