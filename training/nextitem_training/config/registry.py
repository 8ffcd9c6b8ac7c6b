"""Registries: named implementations of one kind, such as bodies."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

from nextitem_training.errors import ConfigError, nearest

Entry = TypeVar("Entry")
Registered = TypeVar("Registered")


class Registry(Generic[Entry]):
    """Named implementations of one kind, such as bodies. Iterating gives the names, sorted."""

    def __init__(self, kind: str, package: str | None = None) -> None:
        """Makes an empty registry.

        Args:
            kind: what an entry is, for messages.
            package: where entries are found, so that a new one costs one file there. The module that has the entry's name is
                imported first, then all others.
        """
        self._kind = kind
        self._package = package
        self._entries: dict[str, Entry] = {}

    def register(self, name: str) -> Callable[[Registered], Registered]:
        """A decorator that registers a class, function or value. Raises ValueError if the name is taken."""

        def add(entry: Registered) -> Registered:
            if name in self._entries:
                raise ValueError(f"The {self._kind} '{name}' is registered already; take another name.")
            self._entries[name] = entry  # type: ignore[assignment]
            return entry

        return add

    def get(self, name: str) -> Entry:
        """Returns the entry. Raises ConfigError, which lists the known names, if there is none."""
        if name not in self._entries and self._package and name.isidentifier():
            module = f"{self._package}.{name}"
            if importlib.util.find_spec(module):
                importlib.import_module(module)
        if name not in self._entries and name not in self._found():
            raise ConfigError(f"There is no {self._kind} '{name}'.{nearest(name, self)} Known are {', '.join(self)}.")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._found()))

    def _found(self) -> dict[str, Entry]:
        if self._package:
            package = importlib.import_module(self._package)
            for module in pkgutil.iter_modules(package.__path__):
                importlib.import_module(f"{self._package}.{module.name}")
            self._package = None
        return self._entries
