"""Files of interactions and of recommendations: what all kinds have in common, and CSV and JSON lines.

These take nothing but Python; Parquet takes pyarrow, see `_parquet.py`.
"""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, cast

from nextitem_bundle.signature import Signature
from nextitem_client._exceptions import InvalidOption
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
    """Raise InvalidOption unless the file has every column that is needed, once.

    Others are ignored, but for attributes that the catalogue has: whoever gives them expects that they count.
    """
    needed = [session_column, *signature.feature_names]
    missing = [name for name in needed if name not in present]
    if missing:
        raise InvalidOption(
            f"{path} has no column {', '.join(missing)}. Needed are {session_column} (--session-column) and the "
            f"model's features {', '.join(signature.feature_names)}; the file has {', '.join(present) or 'none'}."
        )
    refusal = signature.refusal(present)
    if refusal:
        raise InvalidOption(f"{path} cannot be used, since {refusal}.")
    twice = sorted({name for name in needed if list(present).count(name) > 1})
    if twice:
        raise InvalidOption(f"{path} has the column {', '.join(twice)} more than once; leave one.")


class Absent:
    """Stands for a value that a row does not have, so that the client's error says so."""

    def __repr__(self) -> str:
        return "absent"


ABSENT = Absent()


class CsvRows:
    """CSV in UTF-8 with a header line; an empty field is null. Session ids are strings."""

    id_type = "string"

    def __init__(self, path: Path, session_column: str, signature: Signature) -> None:
        self._path = path
        try:
            with path.open(encoding="utf-8-sig", newline="") as text:
                header: list[str] = next(csv.reader(text, strict=True), list[str]())
        except (csv.Error, UnicodeDecodeError) as error:
            raise InvalidOption(f"{path} is no CSV in UTF-8 near line 1: {error}.") from None
        require_columns(path, header, session_column, signature)
        self._session = header.index(session_column)
        self._width = len(header)
        self._features = [(f.name, header.index(f.name), _FROM_TEXT[f.kind]) for f in signature.features]

    def ids(self) -> Iterator[Sequence[Any]]:
        """See RowFile."""
        for chunk in self._chunks():
            yield [row[self._session] or None for row in chunk]

    def rows(self) -> Iterator[Rows]:
        """See RowFile."""
        for chunk in self._chunks():
            ids = [row[self._session] or None for row in chunk]
            yield ids, {name: [read(row[place]) for row in chunk] for name, place, read in self._features}

    def _chunks(self) -> Iterator[list[list[str]]]:
        with self._path.open(encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            try:
                next(reader)
                while chunk := [self._checked(row, reader.line_num) for row in islice(reader, CHUNK_ROWS) if row]:
                    yield chunk
            except (csv.Error, UnicodeDecodeError) as error:
                raise InvalidOption(f"{self._path} is no CSV in UTF-8 near line {reader.line_num}: {error}.") from None

    def _checked(self, row: list[str], line: int) -> list[str]:
        if len(row) != self._width:
            raise InvalidOption(
                f"Line {line} of {self._path} has {len(row)} fields, and its header has {self._width}: correct the line."
            )
        return row


class JsonLines:
    """JSON lines in UTF-8: an object for each interaction. Session ids are strings or integers."""

    id_type = None

    def __init__(self, path: Path, session_column: str, signature: Signature) -> None:
        self._path = path
        self._session = session_column
        self._signature = signature

    def ids(self) -> Iterator[Sequence[Any]]:
        """See RowFile."""
        for chunk in self._chunks():
            yield [row.get(self._session) for row in chunk]

    def rows(self) -> Iterator[Rows]:
        """See RowFile."""
        for chunk in self._chunks():
            ids = [row.get(self._session) for row in chunk]
            yield ids, {name: [row.get(name, ABSENT) for row in chunk] for name in self._signature.feature_names}

    def _chunks(self) -> Iterator[list[dict[str, Any]]]:
        with self._path.open("rb") as lines:
            numbered = enumerate(lines, start=1)
            while some := list(islice(numbered, CHUNK_ROWS)):
                yield [self._object(line, number) for number, line in some if line.strip()]

    def _object(self, line: bytes, number: int) -> dict[str, Any]:
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise InvalidOption(f"Line {number} of {self._path} is no JSON ({error}): correct the line.") from None
        if not isinstance(row, dict):
            raise InvalidOption(f"Line {number} of {self._path} is no JSON object; expected is one interaction a line.")
        found = cast("dict[str, Any]", row)
        session_id = found.get(self._session)
        if not _is_session_id(session_id):
            raise InvalidOption(
                f"Line {number} of {self._path} has the {self._session} {session_id!r}; expected is text "
                "that UTF-8 can hold, or an integer of 64 bits."
            )
        refusal = self._signature.refusal(found)
        if refusal:
            raise InvalidOption(f"Line {number} of {self._path} cannot be used, since {refusal}.")
        return found


def _is_session_id(value: Any) -> bool:
    if type(value) is str:
        return value.isascii() or not any("\ud800" <= sign <= "\udfff" for sign in value)  # JSON allows half a pair
    return value is None or (type(value) is int and abs(value) < 2**63)


def _integer(text: str) -> Any:
    # What is no integer stays text, so that the client refuses it by name.
    try:
        return int(text) if text else None
    except ValueError:
        return text


def _float(text: str) -> Any:
    try:
        return float(text) if text else None
    except ValueError:
        return text


def _boolean(text: str) -> Any:
    return {"": None, "true": True, "false": False, "1": True, "0": False}.get(text.lower(), text)


def _datetime(text: str) -> Any:
    digits = text[1:] if text.startswith("-") else text
    return int(text) if digits.isdigit() else text or None


_FROM_TEXT: Mapping[str, Callable[[str], Any]] = {
    "string": lambda text: text or None,
    "integer": _integer,
    "boolean": _boolean,
    "float": _float,
    "datetime": _datetime,
}


class CsvTable:
    """CSV in UTF-8 with a header line; null is an empty field."""

    def __init__(self, id_type: str, item_type: str, heads: Sequence[str]) -> None:
        self._header = f"{','.join((*COLUMNS, *heads))}\n".encode()

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """See Table."""
        with path.open("w", encoding="utf-8", newline="") as text:
            csv.writer(text, lineterminator="\n").writerows(rows)

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """See Table."""
        join_bytes(path, parts, self._header)


class JsonLinesTable:
    """JSON lines in UTF-8: an object for each row."""

    def __init__(self, id_type: str, item_type: str, heads: Sequence[str]) -> None:
        self._columns = (*COLUMNS, *heads)

    def write(self, path: Path, rows: Sequence[Sequence[Any]]) -> None:
        """See Table."""
        write_json_lines(path, (dict(zip(self._columns, row)) for row in rows))

    def join(self, path: Path, parts: Iterable[Path]) -> None:
        """See Table."""
        join_bytes(path, parts)


def write_json_lines(path: Path, objects: Iterable[Mapping[str, Any]]) -> None:
    """Write an object a line."""
    with path.open("w", encoding="utf-8", newline="\n") as text:
        text.writelines(f"{json.dumps(entry, ensure_ascii=False)}\n" for entry in objects)


def join_bytes(path: Path, parts: Iterable[Path], header: bytes = b"") -> None:
    """Write the parts one after the other."""
    with path.open("wb") as whole:
        whole.write(header)
        for part in parts:
            with part.open("rb") as content:
                shutil.copyfileobj(content, whole)
