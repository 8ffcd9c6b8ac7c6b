"""pandas' methods of a column."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..expressions import Expr, apply, cast, constant, null_of, where
from .calendar import Calendar, Duration, fold_of
from .choice import choose, contained, mapped
from .dtypes import converted, expr_dtype, operand, plain_scalar
from .refusals import TracingError, attribute

if TYPE_CHECKING:
    from .column import SymbolicColumn

    Base = Any  # a SymbolicColumn: to say so would make that derive from itself
else:
    Base = object


class SeriesMethods(Base):
    """What a SymbolicColumn has of `pandas.Series`, but for its operators."""

    def abs(self) -> SymbolicColumn:
        """As of pandas."""
        return abs(self)

    def isna(self) -> SymbolicColumn:
        """True where null."""

        def build(_: pd.Series) -> Expr:
            null = null_of(self.expr)
            # False, as many as there are values.
            return apply("ne", "bool", self.expr, self.expr) if null is None else null

        return self.derive(pd.Series.isna, build, self)

    isnull = isna

    def notna(self) -> SymbolicColumn:
        """True where not null."""
        return ~self.isna()

    notnull = notna

    def fillna(self, value: Any = None, method: Any = None, **_: Any) -> SymbolicColumn:
        """value, a scalar or a column, in the place of null."""
        if method is not None:
            raise attribute("ffill")

        def build(shadow: pd.Series) -> Expr:
            null = null_of(self.expr)
            if null is None:
                return self.expr
            plain = None if hasattr(value, "expr") else plain_scalar(value)
            dtype = expr_dtype(shadow)
            if isinstance(plain, float) and plain != int(plain) and dtype == "int64":
                dtype = "float64"  # as pandas has integers that can be null
            return where(null, operand(value, dtype), cast(self.expr, dtype))

        return self.derive(lambda column, filler: column.fillna(filler), build, self, value)

    def clip(self, lower: Any = None, upper: Any = None, **_: Any) -> SymbolicColumn:
        """Bounded by scalars; null stays null."""
        if any(hasattr(bound, "expr") for bound in (lower, upper)):
            raise TracingError("clip() by a column is not compiled: use np.minimum() and np.maximum()")
        if lower is not None and upper is not None and lower > upper:
            lower, upper = upper, lower

        def build(shadow: pd.Series) -> Expr:
            dtype = expr_dtype(shadow)
            result = self
            for bound, op in ((upper, "gt"), (lower, "lt")):
                if bound is not None:
                    if isinstance(bound, float) and bound != int(bound) and dtype == "int64":
                        dtype = "float64"
                    result = choose(result.binary(op, bound), bound, result)
            return cast(result.expr, dtype)

        return self.derive(lambda column: column.clip(lower, upper), build, self)

    def between(self, left: Any, right: Any, inclusive: str = "both") -> SymbolicColumn:
        """Whether left <= self <= right."""
        above = self >= left if inclusive in ("both", "left") else self > left
        below = self <= right if inclusive in ("both", "right") else self < right
        return above & below

    def round(self, decimals: int = 0, **_: Any) -> SymbolicColumn:
        """To the nearest, halves to even."""

        def build(shadow: pd.Series) -> Expr:
            dtype = expr_dtype(shadow)
            if not dtype.startswith("float"):
                if decimals < 0:
                    raise TracingError(f"round({decimals}) of integers is not compiled: make the column float64")
                return self.expr
            # As numpy: by the power of ten, to the whole, and back.
            there, back = ("mul", "div") if decimals >= 0 else ("div", "mul")
            scale = constant(10.0 ** abs(decimals), dtype)
            if decimals == 0:
                return apply("round", dtype, cast(self.expr, dtype))
            return apply(back, dtype, apply("round", dtype, apply(there, dtype, cast(self.expr, dtype), scale)), scale)

        return self.derive(lambda column: column.round(decimals), build, self)

    def astype(self, dtype: Any, *_: Any, **__: Any) -> SymbolicColumn:
        """To a number, a boolean or, from integers, a date-time."""
        return converted(self, dtype)

    def isin(self, values: Any) -> SymbolicColumn:
        """Whether the value is one of these scalars."""
        return contained(self, list(values))

    def map(self, mapping: Any, na_action: Any = None) -> SymbolicColumn:
        """By a dict, what is no key becomes null; by a ufunc; of calendar fields, by any function."""
        if isinstance(mapping, np.ufunc):
            return mapping(self)
        if fold_of(self) is None and (not isinstance(mapping, (Mapping, pd.Series)) or na_action is not None):
            raise TracingError("map() is compiled with a dict: write the function as arithmetic on the column")
        return mapped(self, mapping, na_action)

    def apply(self, function: Any) -> SymbolicColumn:
        """By a ufunc; of calendar fields, by any function."""
        if isinstance(function, np.ufunc):
            return function(self)
        if fold_of(self) is None or not callable(function):
            raise attribute("apply")
        return mapped(self, function, None)

    def where(self, condition: Any, other: Any = np.nan, **_: Any) -> SymbolicColumn:
        """self where the condition holds, else other."""
        return choose(condition, self, other, by=lambda c, s, o: s.where(c, o))

    def mask(self, condition: Any, other: Any = np.nan, **_: Any) -> SymbolicColumn:
        """other where the condition holds, else self."""
        return choose(condition, other, self, by=lambda c, o, s: s.mask(c, o))

    def pipe(self, function: Any, *arguments: Any, **more: Any) -> Any:
        """function(self, …)."""
        return function(self, *arguments, **more)

    def copy(self, deep: bool = True) -> SymbolicColumn:
        """Itself: columns never change."""
        return self

    def to_numpy(self, *arguments: Any, **more: Any) -> SymbolicColumn:
        """Itself, as numpy would have it."""
        if arguments or more:
            raise TracingError("to_numpy() with a dtype is not compiled: use astype()")
        return self

    @property
    def values(self) -> SymbolicColumn:
        """Itself, as numpy would have it."""
        return self

    @property
    def dt(self) -> Any:
        """The calendar of a date-time, or the parts of a duration."""

        kind = self.shadow.dtype.kind
        if kind not in "Mm":
            raise TracingError(f".dt of {self.shadow.dtype}: make it a date-time with pd.to_datetime()")
        return Calendar(self) if kind == "M" else Duration(self)
