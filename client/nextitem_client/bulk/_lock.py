"""Keeps two processes from writing the same output."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import IO, Any

from nextitem_client._exceptions import InvalidOption


def locked(path: Path) -> IO[bytes]:
    """Lock this file until what is returned is closed, or the process ends in whatever way.

    Raises InvalidOption where another run holds it. Where the system knows no such locks (Windows, some network file
    systems) nothing is kept out.
    """
    file = path.open("ab")
    try:
        fcntl: Any = importlib.import_module("fcntl")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        raise InvalidOption(
            f"Another run is writing to {path.parent} at this moment: let it end, or choose another output."
        ) from None
    except (ImportError, OSError):
        pass
    return file
