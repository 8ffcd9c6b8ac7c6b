"""pandas' functions and constructors that take columns: ours for the length of a trace, pandas' own for everything else."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pandas as pd

from .column import SymbolicColumn
from .conversion import to_datetime, to_timedelta
from .frame import SymbolicFrame
from .refusals import TracingError

_FUNCTIONS: dict[str, Callable[..., Any]] = {
    "to_datetime": to_datetime,
    "to_timedelta": to_timedelta,
    "isna": lambda column: column.isna(),
    "isnull": lambda column: column.isna(),
    "notna": lambda column: column.notna(),
    "notnull": lambda column: column.notna(),
}


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
