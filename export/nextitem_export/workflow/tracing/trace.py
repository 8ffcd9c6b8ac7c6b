"""Calling a function with symbolic columns, and noticing what symbolic columns cannot.

For the length of a trace, pandas' functions and constructors are ours where they are given columns.
"""

from __future__ import annotations

import contextlib
import hashlib
import random
import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any, cast

import numpy as np
import pandas as pd

from ..expressions import Expr
from .column import SymbolicColumn
from .dtypes import to_datetime
from .frame import SymbolicFrame
from .refusals import TracingError

#: pandas is one for all threads.
_LOCK = threading.RLock()
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "to_datetime": to_datetime,
    "isna": lambda column: column.isna(),
    "isnull": lambda column: column.isna(),
    "notna": lambda column: column.notna(),
    "notnull": lambda column: column.notna(),
}


def trace(function: Callable[[], Any]) -> Any:
    """Call a function of symbolic columns twice and return its result.

    Raises TracingError where it does what cannot be compiled, draws random numbers, gives another result the second time, or
    fails on what it was not written for.
    """
    with _LOCK, replaced(), warnings.catch_warnings(), np.errstate(all="ignore"):
        # A function that reads .dt.week is told so where it runs; here it would be said of our lines.
        warnings.filterwarnings("ignore", "Series.dt.weekofyear and Series.dt.week have been deprecated", FutureWarning)
        results = [_called(function) for _ in range(2)]
    if _fingerprint(results[0]) != _fingerprint(results[1]):
        raise TracingError(
            "it gives another result each time it is called, as random numbers and the current time do: compute it before the "
            "workflow and send it as a column"
        )
    return results[0]


def _called(function: Callable[[], Any]) -> Any:
    with _without_random_numbers():
        try:
            return function()
        except TracingError:
            raise
        except Exception as error:
            raise TracingError(
                f"it fails on columns that stand for any data ({type(error).__name__}: {error}): write it as arithmetic on "
                "whole columns, or serve the workflow with ExportOptions(features='nvtabular')"
            ) from error


@contextlib.contextmanager
def _without_random_numbers() -> Iterator[None]:
    """Refuses what moves the state of a global generator, and puts the state back."""
    ours, python = _numpy_state(), random.getstate()
    try:
        yield
        drawn = _numpy_state()
        if drawn[2:] != ours[2:] or not np.array_equal(drawn[1], ours[1]) or random.getstate() != python:
            raise TracingError(
                "it draws random numbers, which a server must not answer with: compute the column before the workflow and "
                "send it"
            )
    finally:
        np.random.set_state(ours)
        random.setstate(python)


def _numpy_state() -> tuple[Any, ...]:
    return cast("tuple[Any, ...]", np.random.get_state(legacy=True))


def _fingerprint(result: Any) -> Any:
    """Equal for results of the same expressions."""
    known: dict[int, int] = {}
    numbers: dict[Any, int] = {}
    columns = result.items() if isinstance(result, (SymbolicFrame, dict)) else [("", result)]
    return [
        (name, _number(c.expr, known, numbers) if isinstance(c, SymbolicColumn) else str(c)) for name, c in columns
    ], list(numbers)


def _number(expr: Expr, known: dict[int, int], numbers: dict[Any, int]) -> int:
    """The number of an expression among the different ones; each shared part once."""
    if id(expr) not in known:
        arguments = tuple(_number(arg, known, numbers) for arg in expr.args)
        arrays = [
            (name, hashlib.sha256(np.ascontiguousarray(a).data).hexdigest()) for name, a in sorted(expr.arrays.items())
        ]
        key = (expr.op, expr.dtype, repr(sorted(expr.attributes.items())), repr(arrays), arguments)
        known[id(expr)] = numbers.setdefault(key, len(numbers))
    return known[id(expr)]


@contextlib.contextmanager
def replaced() -> Iterator[None]:
    """With `pd.to_datetime`, `pd.isna`, `pd.Series`, `pd.DataFrame` … that know symbolic columns; always put back."""
    originals = {name: getattr(pd, name) for name in [*_FUNCTIONS, "Series", "DataFrame"]}
    try:
        for name, ours in _FUNCTIONS.items():
            setattr(pd, name, _either(ours, originals[name]))
        pd.Series = _stand_in(originals["Series"], SymbolicColumn, _series)
        pd.DataFrame = _stand_in(originals["DataFrame"], SymbolicFrame, _frame)
        yield
    finally:
        for name, original in originals.items():
            setattr(pd, name, original)


def _either(ours: Callable[..., Any], original: Callable[..., Any]) -> Callable[..., Any]:
    def function(argument: Any, *args: Any, **more: Any) -> Any:
        return (ours if isinstance(argument, SymbolicColumn) else original)(argument, *args, **more)

    return function


def _stand_in(original: type, symbolic: type, make: Callable[..., Any]) -> Any:
    """A class that makes symbolic objects of symbolic data, else objects of the original, and knows both as instances."""

    class Meta(type(original)):
        def __call__(cls, data: Any = None, *args: Any, **more: Any) -> Any:
            made = make(data, *args, **more)
            return original(data, *args, **more) if made is None else made

        def __instancecheck__(cls, instance: Any) -> bool:
            return isinstance(instance, (original, symbolic))

        def __subclasscheck__(cls, subclass: type) -> bool:
            return issubclass(subclass, original)

    return Meta(original.__name__, (original,), {})


def _series(data: Any, *_: Any, dtype: Any = None, **__: Any) -> SymbolicColumn | None:
    if not isinstance(data, SymbolicColumn):
        return None
    return data if dtype is None else data.astype(dtype)


def _frame(data: Any, *_: Any, **__: Any) -> SymbolicFrame | None:
    if isinstance(data, SymbolicFrame):
        return data.copy()
    if not isinstance(data, Mapping) or not any(isinstance(value, SymbolicColumn) for value in data.values()):
        return None
    plain = [name for name, value in data.items() if not isinstance(value, SymbolicColumn)]
    if plain:
        raise TracingError(f"it sets '{plain[0]}' to {type(data[plain[0]]).__name__}: compute it from columns")
    return SymbolicFrame(data)
