"""A table of named things that is filled once and read often."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Generic, TypeVar

from nextitem_training.errors import ConfigError, nearest

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """Names of one kind of thing, such as bodies. Iterating gives the names, sorted."""

    def __init__(self, kind: str) -> None:
        self._kind = kind
        self._entries: dict[str, Entry] = {}

    def register(self, name: str, entry: Entry) -> None:
        """Adds an entry. Raises ValueError where the name is taken."""
        if name in self._entries:
            raise ValueError(f"The {self._kind} '{name}' is registered already; take another name.")
        self._entries[name] = entry

    def get(self, name: str) -> Entry:
        """Returns the entry. Raises ConfigError that lists the known names on a miss."""
        if name not in self._entries:
            raise ConfigError(f"There is no {self._kind} '{name}'.{nearest(name, self)} Known are {', '.join(self)}.")
        return self._entries[name]

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))
