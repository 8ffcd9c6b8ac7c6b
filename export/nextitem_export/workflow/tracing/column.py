"""A column that records what is done to it.

Beside the expression it carries a *shadow*: some rows of the real column as a pandas Series, to which everything is done as
well. The result's dtype is read off the shadow, so that pandas' own rules of promotion hold.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast, constant, either, lookup, null_of, sorted_keys, where

_COMPARISONS = {"eq", "ne", "lt", "le", "gt", "ge"}
_LOGIC = {"and", "or"}

_PYTHON: dict[str, Callable[[Any, Any], Any]] = {
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
}


class TracingError(Exception):
    """What the function does to a column cannot be compiled; the message says what and, where known, the remedy."""


class SymbolicColumn:
    """Stands for a pandas Series while a function is traced. dtype, arithmetic, comparisons, ufuncs and common methods."""

    __array_priority__ = 1000  # numpy scalars on the left leave the operation to us
    __hash__ = None  # type: ignore[assignment]  equality is elementwise

    def __init__(self, expr: Expr, shadow: pd.Series) -> None:
        self.expr = expr
        self.shadow = shadow

    @property
    def dtype(self) -> Any:
        """The dtype that pandas has for it."""
        return self.shadow.dtype

    # Arithmetic, comparisons and logic.

    def binary(self, op: str, other: Any, *, swapped: bool = False) -> SymbolicColumn:
        """self op other, or other op self; other a column or a scalar."""
        one, two = (other, self) if swapped else (self, other)
        with np.errstate(all="ignore"):
            shadow = _PYTHON[op](_shadow(one), _shadow(two))
        left, right = as_expr(one, two), as_expr(two, one)
        if "string" in (left.dtype, right.dtype):
            return SymbolicColumn(_equal_strings(op, left, right), shadow)
        if op in _LOGIC:
            return SymbolicColumn(apply(op, "bool", cast(left, "bool"), cast(right, "bool")), shadow)
        dtype = _common(left, right) if op in _COMPARISONS else expr_dtype(shadow)
        compared = apply(op, "bool" if op in _COMPARISONS else dtype, cast(left, dtype), cast(right, dtype))
        if op in _COMPARISONS and not dtype.startswith("float"):
            compared = _false_for_null(op, compared, left, right)
        return SymbolicColumn(compared, shadow)

    def unary(self, op: str, function: Callable[[Any], Any]) -> SymbolicColumn:
        """A function of one column, computed in the dtype that pandas gives it."""
        with np.errstate(all="ignore"):
            shadow = function(self.shadow)
        dtype = expr_dtype(shadow)
        return SymbolicColumn(apply(op, dtype, cast(self.expr, dtype)), shadow)

    def __add__(self, other: Any) -> SymbolicColumn:
        return self.binary("add", other)

    def __radd__(self, other: Any) -> SymbolicColumn:
        return self.binary("add", other, swapped=True)

    def __sub__(self, other: Any) -> SymbolicColumn:
        return self.binary("sub", other)

    def __rsub__(self, other: Any) -> SymbolicColumn:
        return self.binary("sub", other, swapped=True)

    def __mul__(self, other: Any) -> SymbolicColumn:
        return self.binary("mul", other)

    def __rmul__(self, other: Any) -> SymbolicColumn:
        return self.binary("mul", other, swapped=True)

    def __truediv__(self, other: Any) -> SymbolicColumn:
        return self.binary("div", other)

    def __rtruediv__(self, other: Any) -> SymbolicColumn:
        return self.binary("div", other, swapped=True)

    def __floordiv__(self, other: Any) -> SymbolicColumn:
        return self.binary("floordiv", other)

    def __rfloordiv__(self, other: Any) -> SymbolicColumn:
        return self.binary("floordiv", other, swapped=True)

    def __mod__(self, other: Any) -> SymbolicColumn:
        return self.binary("mod", other)

    def __rmod__(self, other: Any) -> SymbolicColumn:
        return self.binary("mod", other, swapped=True)

    def __pow__(self, other: Any) -> SymbolicColumn:
        return self.binary("pow", other)

    def __rpow__(self, other: Any) -> SymbolicColumn:
        return self.binary("pow", other, swapped=True)

    def __eq__(self, other: object) -> SymbolicColumn:  # type: ignore[override]
        return self.binary("eq", other)

    def __ne__(self, other: object) -> SymbolicColumn:  # type: ignore[override]
        return self.binary("ne", other)

    def __lt__(self, other: Any) -> SymbolicColumn:
        return self.binary("lt", other)

    def __le__(self, other: Any) -> SymbolicColumn:
        return self.binary("le", other)

    def __gt__(self, other: Any) -> SymbolicColumn:
        return self.binary("gt", other)

    def __ge__(self, other: Any) -> SymbolicColumn:
        return self.binary("ge", other)

    def __and__(self, other: Any) -> SymbolicColumn:
        return self.binary("and", other)

    __rand__ = __and__

    def __or__(self, other: Any) -> SymbolicColumn:
        return self.binary("or", other)

    __ror__ = __or__

    def __invert__(self) -> SymbolicColumn:
        if self.shadow.dtype != bool:
            raise TracingError("~ of a column that is not boolean is not compiled")
        return self.unary("not", operator.invert)

    def __neg__(self) -> SymbolicColumn:
        return self.unary("neg", operator.neg)

    def __abs__(self) -> SymbolicColumn:
        return self.unary("abs", operator.abs)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **more: Any) -> SymbolicColumn:
        from .functions import call_ufunc

        return call_ufunc(ufunc, method, inputs, more)

    def __array_function__(self, function: Any, types: Any, args: Any, more: Any) -> Any:
        from .functions import call_function

        return call_function(function, args, more)

    # Methods of pandas.

    def abs(self) -> SymbolicColumn:
        """As of pandas."""
        return abs(self)

    def isna(self) -> SymbolicColumn:
        """True where null."""
        null = null_of(self.expr)
        if null is None:
            null = apply("ne", "bool", self.expr, self.expr)  # false, as many as there are values
        return SymbolicColumn(null, self.shadow.isna())

    isnull = isna

    def notna(self) -> SymbolicColumn:
        """True where not null."""
        return ~self.isna()

    notnull = notna

    def fillna(self, value: Any) -> SymbolicColumn:
        """value, a scalar, in the place of null."""
        shadow = self.shadow.fillna(_shadow(value))
        null = null_of(self.expr)
        if null is None:
            return SymbolicColumn(self.expr, shadow)
        dtype = expr_dtype(shadow)
        return SymbolicColumn(where(null, cast(as_expr(value, self), dtype), cast(self.expr, dtype)), shadow)

    def clip(self, lower: Any = None, upper: Any = None) -> SymbolicColumn:
        """Bounded by scalars; null stays null."""
        result = self
        for bound, op in ((lower, "lt"), (upper, "gt")):
            if bound is not None:
                result = choose(result.binary(op, bound), bound, result)
        return SymbolicColumn(
            cast(result.expr, expr_dtype(self.shadow.clip(lower, upper))), self.shadow.clip(lower, upper)
        )

    def round(self, decimals: int = 0) -> SymbolicColumn:
        """To the nearest, halves to even."""
        if not isinstance(decimals, (int, np.integer)):
            raise TracingError(f"round({decimals!r}) is not compiled: give a number of decimals")
        if decimals == 0 or not expr_dtype(self.shadow).startswith("float"):
            return self.unary("round", lambda s: s.round()) if expr_dtype(self.shadow).startswith("float") else self
        scale = 10.0**decimals
        scaled = (self * scale).unary("round", lambda s: s.round()) / scale
        return SymbolicColumn(cast(scaled.expr, expr_dtype(self.shadow)), self.shadow.round(decimals))

    def astype(self, dtype: Any, **_: Any) -> SymbolicColumn:
        """To a number, a boolean or, from integers, a date-time."""
        try:
            shadow = self.shadow.astype(dtype)
            target = expr_dtype(shadow)
        except (TypeError, ValueError) as error:
            raise TracingError(f"astype({dtype!r}) of {self.shadow.dtype} is not compiled: {error}") from None
        if (target == "string") != (self.expr.dtype == "string"):
            raise TracingError(
                f"astype({dtype!r}) of {self.shadow.dtype} is not compiled: send the column in that type"
            )
        return SymbolicColumn(cast(self.expr, target), shadow)

    def isin(self, values: Any) -> SymbolicColumn:
        """Whether the value is one of these scalars."""
        shadow = self.shadow.isin(values)
        keys = _keys(list(values), self.expr)
        found = Expr("encode", (self.expr,), "int64", {"default": 0}, sorted_keys(keys, np.ones(len(keys), np.int64)))
        return SymbolicColumn(cast(found, "bool"), shadow)

    def map(self, mapping: Any, na_action: Any = None) -> SymbolicColumn:
        """By a dict; what is no key becomes null."""
        if not isinstance(mapping, (Mapping, pd.Series)) or na_action is not None:
            raise TracingError("map() is compiled with a dict: write the function as arithmetic on the column")
        table = pd.Series(mapping)
        shadow = self.shadow.map(mapping)
        keys = _keys(table.index.tolist(), self.expr)
        if table.dtype == object:
            raise TracingError("map() to strings is not compiled: map to numbers")
        values = table.loc[keys.tolist()].to_numpy(np.float64)
        return SymbolicColumn(lookup(self.expr, keys, values, default=float("nan")), shadow.astype(float))

    def where(self, condition: Any, other: Any = np.nan) -> SymbolicColumn:
        """self where the condition holds, else other."""
        return choose(condition, self, other)

    def mask(self, condition: Any, other: Any = np.nan) -> SymbolicColumn:
        """other where the condition holds, else self."""
        return choose(condition, other, self)

    def copy(self, deep: bool = True) -> SymbolicColumn:
        """Itself: columns never change."""
        return self

    @property
    def dt(self) -> Any:
        """The calendar of a date-time."""
        from .calendar import Calendar

        return Calendar(self)

    @property
    def values(self) -> SymbolicColumn:
        """Itself, as numpy would have it."""
        return self

    # What cannot be compiled.

    def __bool__(self) -> bool:
        raise TracingError("it branches on a column's values: use np.where(condition, a, b)")

    def __len__(self) -> int:
        raise TracingError("it asks for the number of rows, which at serving are one request's")

    def __iter__(self) -> Any:
        raise TracingError("it goes through the rows one by one: write it as arithmetic on the whole column")

    def __getitem__(self, key: Any) -> Any:
        raise TracingError("it picks rows of a column: use np.where(condition, a, b)")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        reason = (
            f"Series.{name} depends on the other rows, which at serving are one request's: compute it in training and write "
            "the number into the function"
            if name in _ACROSS_ROWS
            else f"Series.{name} is not compiled: compute the column before the workflow and send it"
        )
        raise TracingError(reason)


_ACROSS_ROWS = {
    "min",
    "max",
    "sum",
    "mean",
    "median",
    "std",
    "var",
    "count",
    "nunique",
    "unique",
    "quantile",
    "mode",
    "shift",
    "diff",
    "rank",
    "cumsum",
    "cumprod",
    "cummax",
    "cummin",
    "cumcount",
    "rolling",
    "expanding",
    "ewm",
    "pct_change",
    "sort_values",
    "value_counts",
    "duplicated",
    "drop_duplicates",
    "ffill",
    "bfill",
    "interpolate",
    "idxmax",
    "idxmin",
    "any",
    "all",
    "groupby",
    "sample",
    "head",
    "tail",
    "iloc",
    "loc",
    "factorize",
}


def choose(condition: Any, yes: Any, no: Any) -> SymbolicColumn:
    """np.where, with pandas' promotion of the two sides."""
    if not isinstance(condition, SymbolicColumn):
        raise TracingError("np.where() is compiled with a condition on columns")
    shadow = pd.Series(np.where(condition.shadow, _shadow(yes), _shadow(no)), index=condition.shadow.index)
    dtype = expr_dtype(shadow)
    sides = [cast(as_expr(side, other), dtype) for side, other in ((yes, no), (no, yes))]
    return SymbolicColumn(where(condition.expr, *sides), shadow)


def as_expr(value: Any, other: Any) -> Expr:
    """A column's expression, or a scalar as a constant in a dtype that goes with `other`."""
    if isinstance(value, SymbolicColumn):
        return value.expr
    if isinstance(value, (pd.Timestamp, pd.Timedelta)):
        return constant(value.value, "int64")
    if isinstance(value, (np.datetime64, np.timedelta64)):
        unit = "datetime64[ns]" if isinstance(value, np.datetime64) else "timedelta64[ns]"
        return constant(value.astype(unit).astype(np.int64), "int64")
    if isinstance(value, str):
        if isinstance(other, SymbolicColumn) and other.shadow.dtype.kind == "M":
            return constant(pd.Timestamp(value).value, "int64")
        return constant(value, "string")
    if isinstance(value, (bool, np.bool_)):
        return constant(bool(value), "bool")
    if isinstance(value, (int, np.integer)):
        return constant(int(value), "int64")
    if isinstance(value, (float, np.floating)) or value is None:
        single = isinstance(other, SymbolicColumn) and other.shadow.dtype == np.float32
        return constant(np.nan if value is None else value, "float32" if single else "float64")
    raise TracingError(f"{type(value).__name__} beside a column is not compiled: use columns and scalars")


def expr_dtype(shadow: pd.Series) -> str:
    """The dtype of the expression for a column that pandas has in this dtype."""
    kind = shadow.dtype.kind
    if kind in "iuMm":
        return "int64"
    if kind == "b":
        return "bool"
    if kind == "f" and shadow.dtype.itemsize in (4, 8):
        return shadow.dtype.name
    if kind == "O" and pd.api.types.infer_dtype(shadow, skipna=True) in ("string", "empty"):
        return "string"
    raise TypeError(f"columns of {shadow.dtype} are not compiled")


def _shadow(value: Any) -> Any:
    return value.shadow if isinstance(value, SymbolicColumn) else value


def _common(left: Expr, right: Expr) -> str:
    if left.dtype == right.dtype:
        return left.dtype
    for one, other in ((left, right), (right, left)):
        if one.op == "constant" and other.dtype.startswith("float"):
            return other.dtype
    return np.result_type(left.dtype, right.dtype).name


def _false_for_null(op: str, compared: Expr, left: Expr, right: Expr) -> Expr:
    null = either(null_of(side) for side in (left, right))
    if null is None:
        return compared
    if op == "ne":  # as NaN != NaN
        return apply("or", "bool", compared, null)
    return apply("and", "bool", compared, apply("not", "bool", null))


def _equal_strings(op: str, left: Expr, right: Expr) -> Expr:
    column, value = (left, right) if right.op == "constant" else (right, left)
    if op not in ("eq", "ne") or value.op != "constant" or column.dtype != value.dtype:
        raise TracingError("of strings only == and != with a constant are compiled")
    keys = np.array([value.settings["value"]], dtype=object)
    same = cast(Expr("encode", (column,), "int64", {"default": 0}, sorted_keys(keys, np.ones(1, np.int64))), "bool")
    return same if op == "eq" else apply("not", "bool", same)


def _keys(values: list[Any], expr: Expr) -> np.ndarray:
    if expr.dtype == "string":
        return np.array(sorted({value for value in values if isinstance(value, str)}), dtype=object)
    if expr.dtype != "int64" or any(value != int(value) for value in values):
        raise TracingError("isin() and map() are compiled for strings and integers")
    return np.array(sorted({int(value) for value in values}), dtype=np.int64)
