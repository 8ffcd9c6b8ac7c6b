"""Calling a function with symbolic columns, and noticing what symbolic columns cannot."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pandas as pd

from ..expressions import Expr
from .calendar import to_datetime
from .column import SymbolicColumn, TracingError

Result = dict[str, SymbolicColumn]


class SymbolicFrame:
    """Stands for a pandas DataFrame: columns by name, assignment, copies."""

    def __init__(self, columns: Result) -> None:
        self._columns = dict(columns)

    @property
    def columns(self) -> list[str]:
        """The names."""
        return list(self._columns)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key not in self._columns:
                raise TracingError(f"it reads the column '{key}', which is not there: name it as a dependency")
            return self._columns[key]
        if isinstance(key, list):
            return SymbolicFrame({name: self[name] for name in key})
        raise TracingError("it picks rows of the table, which at serving are one request's")

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(value, SymbolicColumn):
            raise TracingError(f"it sets '{key}' to {type(value).__name__}: compute it from columns")
        self._columns[key] = value

    def __contains__(self, key: str) -> bool:
        return key in self._columns

    def copy(self, deep: bool = True) -> SymbolicFrame:
        """Another frame of the same columns."""
        return SymbolicFrame(self._columns)

    def assign(self, **columns: Any) -> SymbolicFrame:
        """Another frame with more columns."""
        frame = self.copy()
        for name, value in columns.items():
            frame[name] = value(frame) if callable(value) else value
        return frame

    def items(self) -> Any:
        """Names and columns."""
        return self._columns.items()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise TracingError(f"DataFrame.{name} is not compiled: work on single columns")


def trace(function: Callable[[], Any]) -> Any:
    """Call a function of symbolic columns twice and return its result.

    Raises TracingError where it does what cannot be compiled, gives another result the second time, or fails on what it
    was not written for.
    """
    results = []
    with _patched_pandas():
        for _ in range(2):
            try:
                results.append(function())
            except TracingError:
                raise
            except Exception as error:
                raise TracingError(f"{type(error).__name__}: {error}") from error
    if _fingerprint(results[0]) != _fingerprint(results[1]):
        raise TracingError("it gives another result each time, such as a random one: compute it before the workflow")
    return results[0]


@contextlib.contextmanager
def _patched_pandas() -> Iterator[None]:
    """pd.to_datetime takes no foreign columns, so it is ours for the length of a trace."""
    original = pd.to_datetime

    def replacement(argument: Any, *args: Any, **more: Any) -> Any:
        if isinstance(argument, SymbolicColumn):
            return to_datetime(argument, *args, **more)
        return original(argument, *args, **more)

    pd.to_datetime = replacement
    try:
        yield
    finally:
        pd.to_datetime = original


def _fingerprint(result: Any) -> str:
    columns = result.items() if isinstance(result, (SymbolicFrame, dict)) else [("", result)]
    return json.dumps([(name, _described(c.expr) if isinstance(c, SymbolicColumn) else str(c)) for name, c in columns])


def _described(expr: Expr) -> Any:
    settings = {name: repr(value) for name, value in expr.settings.items()}
    arrays = {name: str(np.asarray(array).tobytes()[:4096]) for name, array in expr.arrays.items()}
    return [expr.op, expr.dtype, settings, arrays, [_described(arg) for arg in expr.args]]
