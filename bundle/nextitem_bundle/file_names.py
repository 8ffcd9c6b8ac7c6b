"""Names of files that are made of the names of columns, which may hold anything."""

from __future__ import annotations

import hashlib
import re

#: Bytes. File systems take 255, and prefixes and endings are added.
_LONGEST = 200


def file_name(column: str) -> str:
    """A file name for a column, which may have any name.

    Args:
        column: the column's name.

    Returns:
        The column's name where a file may have it, otherwise one made of its hash, the same each time.
    """
    if re.fullmatch(r"[\w .()-]+", column) and len(column.encode()) <= _LONGEST:
        return column
    return f"column-{hashlib.sha256(column.encode()).hexdigest()[:32]}"
