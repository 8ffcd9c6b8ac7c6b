"""A table of symbolic columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from . import refusals
from .column import SymbolicColumn
from .refusals import TracingError


class _NoLengthError(TracingError, TypeError):
    """A TypeError too, by which list(table) knows to do without."""


class SymbolicFrame:
    """Stands for a pandas DataFrame: columns by name, assignment, copies.

    absent: why a column of the table cannot be read.
    """

    def __init__(self, columns: Mapping[str, SymbolicColumn], absent: Mapping[str, str] | None = None) -> None:
        self._columns = dict(columns)
        self._absent = dict(absent or {})

    @property
    def columns(self) -> list[str]:
        """The names."""
        return list(self._columns)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, str):
            if key in self._columns:
                return self._columns[key]
            reason = self._absent.get(key, "which is not there: name it as a dependency")
            raise TracingError(f"it reads the column '{key}', {reason}")
        if isinstance(key, list):
            return SymbolicFrame({name: self[name] for name in key})
        raise TracingError(
            "it picks rows of the table, which at serving are one request's: use np.where(condition, a, b)"
        )

    def __setitem__(self, key: str, value: Any) -> None:
        if not isinstance(value, SymbolicColumn):
            raise TracingError(f"it sets '{key}' to {type(value).__name__}: compute it from columns")
        self._columns[key] = value

    def __delitem__(self, key: str) -> None:
        del self._columns[key]

    def __contains__(self, key: str) -> bool:
        return key in self._columns

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        raise _NoLengthError(refusals.LENGTH)

    def __bool__(self) -> bool:
        raise TracingError(refusals.BRANCH)

    def copy(self, deep: bool = True) -> SymbolicFrame:
        """Another frame of the same columns."""
        return SymbolicFrame(self._columns, self._absent)

    def assign(self, **columns: Any) -> SymbolicFrame:
        """Another frame with more columns."""
        frame = self.copy()
        for name, value in columns.items():
            frame[name] = value(frame) if callable(value) else value
        return frame

    def rename(self, *, columns: Mapping[str, str]) -> SymbolicFrame:
        """Another frame with other names."""
        return SymbolicFrame({columns.get(name, name): column for name, column in self.items()})

    def drop(self, *, columns: Any) -> SymbolicFrame:
        """Another frame without these columns."""
        gone = [columns] if isinstance(columns, str) else list(columns)
        return SymbolicFrame({name: column for name, column in self.items() if name not in gone})

    def get(self, key: str, default: Any = None) -> Any:
        """The column, or the default."""
        return self._columns.get(key, default)

    def keys(self) -> list[str]:
        """The names."""
        return self.columns

    def items(self) -> Any:
        """Names and columns."""
        return self._columns.items()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name in self.__dict__.get("_columns", {}):
            return self._columns[name]
        raise refusals.frame_attribute(name)
