"""Functions of one calendar field: tables over all of the field's values, computed by pandas itself at export."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr, cast, constant, lookup, null_of, where
from .promotion import expr_dtype
from .refusals import TracingError


@dataclasses.dataclass(frozen=True)
class Fold:
    """A function of a leaf: an integer expression that has few values.

    name: what the leaf is, `weekday` … of which time. domain: all values of the leaf, rising. values: the function's
    value at each, as pandas has it. at_null: its value, one row, where the leaf is null; None where pandas fails on null.
    """

    name: tuple[str, int]
    leaf: Expr
    domain: np.ndarray
    values: pd.Series
    at_null: pd.Series | None


@dataclasses.dataclass(frozen=True, eq=False)
class FoldedExpr(Expr):
    """An expression that remembers of which leaf it is a function, for the operators that follow."""

    fold: Fold | None = None


def leaf(name: str, time: Expr, expr: Expr, values: pd.Series, at_null: pd.Series) -> FoldedExpr:
    """The expression of a calendar field of `time`; values: all that the field can be, rising and unique."""
    fold = Fold((name, id(time)), expr, values.to_numpy(np.int64), values, at_null)
    return folded_expr(fold)


def combined(operands: Sequence[Any], function: Callable[..., Any]) -> Fold | None:
    """The fold of `function(*operands)`, where all columns among the operands are functions of one leaf."""
    folds = [fold_of(operand) for operand in operands if hasattr(operand, "expr")]
    first = folds[0] if folds else None
    if first is None or any(fold is None or fold.name != first.name for fold in folds):
        return None
    values = function(*(fold_of(o).values if hasattr(o, "expr") else o for o in operands))
    return dataclasses.replace(first, values=pd.Series(values), at_null=_at_null(operands, function))


def fold_of(column: Any) -> Fold | None:
    """The fold that a column carries."""
    return getattr(column.expr, "fold", None)


def _at_null(operands: Sequence[Any], function: Callable[..., Any]) -> pd.Series | None:
    rows = [fold_of(o).at_null if hasattr(o, "expr") else o for o in operands]
    if any(hasattr(o, "expr") and row is None for o, row in zip(operands, rows, strict=True)):
        return None
    try:
        return pd.Series(function(*rows))
    except (TypeError, ValueError):  # integers of NaN
        return None


def folded_expr(fold: Fold) -> FoldedExpr:
    """One lookup on the leaf, with its value for null. Raises TracingError for values that no tensor holds."""
    dtype = expr_dtype(fold.values)
    if dtype == "string" or (fold.values.dtype.kind in "mM" and fold.values.isna().any()):
        raise TracingError("it makes text or missing times of a calendar field: make numbers of it")
    expr = _table(fold, dtype)
    null, missing = null_of(fold.leaf), _scalar(fold.at_null)
    if null is not None and (missing is not None or dtype.startswith("float")):
        if dtype == "int64" and missing != int(missing):
            dtype = "float64"
        expr = where(null, constant(missing, dtype), cast(expr, dtype))
    return FoldedExpr(expr.op, expr.args, expr.dtype, expr.settings, expr.arrays, fold)


def _table(fold: Fold, dtype: str) -> Expr:
    if fold.values.dtype.kind in "iu" and np.array_equal(fold.values.to_numpy(), fold.domain):
        return fold.leaf
    stored = "int64" if dtype == "bool" else dtype
    found = lookup(fold.leaf, fold.domain, fold.values.to_numpy().astype(stored), default=0)
    return cast(found, dtype)


def _scalar(row: pd.Series | None) -> Any:
    """None for null."""
    if row is None or pd.isna(row.iloc[0]):
        return None
    value = row.iloc[0]
    return value.value if isinstance(value, (pd.Timestamp, pd.Timedelta)) else value
