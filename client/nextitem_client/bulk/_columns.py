"""Whether a file has the columns that a model needs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nextitem_bundle.signature import Signature
from nextitem_client._exceptions import InvalidOption


def require_columns(path: Path, present: Sequence[str], session_column: str, signature: Signature) -> None:
    """Raise InvalidOption unless the file has every column that is needed, once; others are ignored."""
    needed = [session_column, *signature.feature_names]
    missing = [name for name in needed if name not in present]
    if missing:
        raise InvalidOption(
            f"{path} has no column {', '.join(missing)}. Needed are {session_column} (--session-column) and the "
            f"model's features {', '.join(signature.feature_names)}; the file has {', '.join(present) or 'none'}."
        )
    twice = sorted({name for name in needed if list(present).count(name) > 1})
    if twice:
        raise InvalidOption(f"{path} has the column {', '.join(twice)} more than once; leave one.")
