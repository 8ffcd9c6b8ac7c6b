"""What is read of one file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from nextitem_training.errors import DataError, nearest


@dataclass(frozen=True)
class Wanted:
    """What of the files is read."""

    columns: tuple[str, ...]
    identifiers: frozenset[str]
    """Of the columns those whose values are names: sessions, items, categories. Nobody reckons with them, so that
    their text in a file without types is kept."""

    def check(self, names: Sequence[str], file: Path, hint: str = "") -> None:
        """Raises DataError where the file with columns of these names lacks one or has one twice."""
        for name in self.columns:
            if name not in names:
                raise DataError(
                    f"{file} has no column '{name}'.{nearest(name, names)} It has {', '.join(names)}.{hint}"
                )
            if list(names).count(name) > 1:
                raise DataError(f"{file} has more than one column '{name}'; rename all but one.")


@dataclass(frozen=True)
class Part:
    """The wanted columns of one file."""

    file: Path
    names: tuple[str, ...]
    """Of all its columns, those that are not read too."""
    table: pa.Table
    untyped: bool = False
    """The file says no types, as CSV: identifiers are text, whatever it looks like."""
