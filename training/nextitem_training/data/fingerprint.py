"""What a training was begun with, so that it goes on with nothing else."""

from __future__ import annotations

import dataclasses
import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from pandas.util import hash_pandas_object

from nextitem_training.config import Config
from nextitem_training.data.split import Given
from nextitem_training.errors import RunDirectoryError

_PIECE = 1 << 20


def fingerprint(
    config: Config,
    frame: pd.DataFrame,
    init_from: str | Path | None = None,
    given: Given | None = None,
    items: pa.Table | None = None,
) -> dict[str, Any]:
    """Everything that decides what a training comes to, in a form that JSON keeps.

    Args:
        frame: the interactions as they were read; their order counts.
        init_from: the weights' file of the run that is started from.
        given: further interactions by which it is judged.
        items: the items table.
    """
    given = given or Given()
    tables = dataclasses.asdict(config)
    pretrained = config.inputs.pretrained_items
    return {
        "configuration": _flat(tables),
        "data": _of_frame(frame),
        "pretrained_items": _of_file(pretrained) if pretrained and Path(pretrained).is_file() else "",
        "init_from": _of_file(init_from) if init_from else "",
        "validation_data": _of_frame(given.validation) if given.validation is not None else "",
        "test_data": _of_frame(given.held_out) if given.held_out is not None else "",
        "items": _of_table(items) if items is not None else "",
    }


def refuse_other(found: Mapping[str, Any], expected: Mapping[str, Any], folder: Path) -> None:
    """Raises RunDirectoryError with what differs, where a training was begun with something else."""
    ours, theirs = expected["configuration"], found["configuration"]
    differing = [
        f"{name} is {theirs.get(name)!r} there and {ours.get(name)!r} here"
        for name in {**theirs, **ours}
        if theirs.get(name) != ours.get(name)
    ]
    others = {
        "data": "the interactions are other ones",
        "pretrained_items": "the vectors in [inputs] pretrained_items are other ones",
        "init_from": "the run that --init-from names is another one",
        "validation_data": "the interactions of --validation-data are other ones",
        "test_data": "the interactions of --test-data are other ones",
        "items": "the table of --items is another one",
    }
    differing += [sentence for name, sentence in others.items() if found.get(name, "") != expected[name]]
    if differing:
        raise RunDirectoryError(
            f"The training in {folder} cannot be gone on with, since it was begun with something else: "
            f"{'; '.join(differing)}. Give what it was begun with, or --overwrite without --resume to begin anew."
        )


def _flat(tables: Mapping[str, Any]) -> dict[str, Any]:
    """One entry for each setting, such as 'training.epochs', tuples as lists, as JSON has them."""
    settings = {}
    for table, values in tables.items():
        entries = values.items() if isinstance(values, Mapping) else [("", values)]
        for name, value in entries:
            key = f"[{table}] {name}".strip()
            settings[key] = [*value] if isinstance(value, tuple) else value
    return settings


def _of_frame(frame: pd.DataFrame) -> str:
    digest = hashlib.sha256(repr(frame.dtypes.astype(str).to_dict()).encode())
    for start in range(0, len(frame), _PIECE):
        rows = hash_pandas_object(frame.iloc[start : start + _PIECE], index=False)
        digest.update(rows.to_numpy().tobytes())
    return digest.hexdigest()


def _of_table(table: pa.Table) -> str:
    digest = _Digest()
    with pa.ipc.new_stream(pa.PythonFile(digest, mode="w"), table.schema) as writer:
        writer.write_table(table, max_chunksize=_PIECE)
    return digest.sha256.hexdigest()


class _Digest(io.RawIOBase):
    """Takes what is written to it into a checksum, and keeps none of it."""

    def __init__(self) -> None:
        super().__init__()
        self.sha256 = hashlib.sha256()

    def writable(self) -> bool:
        """True."""
        return True

    def write(self, data: Any, /) -> int:
        """Takes some bytes; returns how many."""
        self.sha256.update(data)
        return len(data)


def _of_file(path: str | Path) -> str:
    digest = hashlib.sha256()
    with Path(path).open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
