"""What a file of interactions and a file of recommendations are; `_text.py` and `_parquet.py` implement them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Protocol

from nextitem_client._exceptions import InvalidOption
from nextitem_client._signature import Signature
from nextitem_client.bulk._grouping import Rows

#: Rows that a reader of interactions holds at a time.
CHUNK_ROWS = 8_192

#: The columns of every file of recommendations; behind them come those of the model's heads.
COLUMNS = ("session_id", "rank", "item_id", "score", "status")


class RowFile(Protocol):
    """A file of interactions. Both methods read it from its start and raise InvalidOption, with the line, for damage."""

    @property
    def id_type(self) -> str | None:
        """What session ids are: "string", "integer" (int64), "unsigned" (uint64); None where only reading tells."""
        ...

    def ids(self) -> Iterator[Sequence[Any]]:
        """The session id of each row, in chunks; None where there is none."""
        ...

    def rows(self) -> Iterator[Rows]:
        """The same with the features' values; what a row lacks is ABSENT."""
        ...


class Table(Protocol):
    """A kind of file of recommendations, written in parts that are joined at the end."""

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """Write a part: rows of COLUMNS and of the heads' columns."""
        ...

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """Write the whole: the rows of all parts, in order."""
        ...


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
