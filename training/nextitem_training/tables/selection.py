"""Which files hold the interactions or the items, and how each is opened."""

from __future__ import annotations

import bz2
import gzip
import logging
import lzma
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from nextitem_training.errors import DataError

logger = logging.getLogger(__name__)

PARQUET = "Parquet"
CSV = "CSV"
TSV = "TSV"
JSON_LINES = "JSON lines"

_FORMATS = {
    ".parquet": PARQUET,
    ".pq": PARQUET,
    ".csv": CSV,
    ".tsv": TSV,
    ".jsonl": JSON_LINES,
    ".ndjson": JSON_LINES,
}
_COMPRESSIONS: Mapping[str, Callable[[Path], Any]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}

#: What reading raises of a file that is not what its name says.
UNREADABLE = (pa.ArrowException, OSError, EOFError, zlib.error, lzma.LZMAError, UnicodeError)


@dataclass(frozen=True)
class Source:
    """One file of interactions or of items."""

    path: Path
    format: str
    compression: str = ""
    """The ending that says it, such as .gz; empty for none."""

    def open(self) -> IO[bytes]:
        """The bytes, without the compression."""
        return _COMPRESSIONS.get(self.compression, lambda path: path.open("rb"))(self.path)


def select(path: str | Path, rows: str = "interactions", option: str = "--data") -> list[Source]:
    """The file, or all of a folder in the order of their names.

    rows, option: what the files hold and which option names them, for messages.

    Left out, as by pyarrow.dataset, is what begins with '.' or '_' below the folder: checkpoints of notebooks, logs of Delta
    tables, what macOS adds to archives. Raises DataError where nothing is left.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(f"There is no file or folder {path}; give {option} the {rows}' path.")
    if not path.is_dir():
        source = _source(path)
        if source is None:
            raise DataError(f"{path} is no file of {rows} by its name; expected are names that end in {_endings()}.")
        return [source]
    files = [file for file in sorted(path.rglob("*")) if file.is_file()]
    visible = [file for file in files if not any(part[0] in "._" for part in file.relative_to(path).parts)]
    sources = [source for source in map(_source, visible) if source]
    if not sources:
        hidden = f"; {len(files) - len(visible)} whose names or folders begin with '.' or '_' are left out"
        raise DataError(
            f"{path} holds no {rows}; expected are files with names that end in {_endings()}"
            f"{hidden if len(files) > len(visible) else ''}."
        )
    others = [file for file in visible if _source(file) is None]
    if others:
        logger.warning(
            "%d files in %s are not read, such as %s; read are %s.", len(others), path, others[0], _endings()
        )
    return sources


def _source(path: Path) -> Source | None:
    name = path.name.lower()
    compression = next((ending for ending in _COMPRESSIONS if name.endswith(ending)), "")
    kind = _FORMATS.get(Path(name.removesuffix(compression)).suffix)
    if kind is None or (compression and kind == PARQUET):  # Parquet compresses inside
        return None
    return Source(path, kind, compression)


def _endings() -> str:
    return f"{', '.join(_FORMATS)}, all but Parquet also with {', '.join(_COMPRESSIONS)} behind"
