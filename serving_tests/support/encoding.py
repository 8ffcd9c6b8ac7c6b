"""Raw sessions and filters to the tensors of a request: written here anew, so as not to trust the project's own packing."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

#: Strings are BYTES; a date-time travels as INT64.
FILL = {"BYTES": b"", "INT64": 0, "FP32": 0.0}
DTYPES = {"BYTES": np.object_, "INT64": np.int64, "FP32": np.float32}
NULL_INT64 = int(np.iinfo(np.int64).min)


def encode_sessions(features: Sequence[dict[str, str]], batch: Sequence[pd.DataFrame]) -> dict[str, np.ndarray]:
    """The features [B, T], padded on the right, and `session_length`; features as in the bundle's signature."""
    width = max(1, *(len(session) for session in batch))
    tensors = {"session_length": np.array([[len(session)] for session in batch], dtype=np.int32)}
    for feature in features:
        datatype = feature["datatype"]
        values = np.full((len(batch), width), FILL[datatype], dtype=DTYPES[datatype])
        for row, session in enumerate(batch):
            values[row, : len(session)] = [_wire(value, datatype) for value in session[feature["name"]]]
        tensors[feature["name"]] = values
    return tensors


def encode_ids(lists: Sequence[Sequence], null: str | int, *, width: int | None = None) -> np.ndarray:
    """Lists of raw ids, None for null, as `exclude_item_ids` or `allow_item_ids` [B, E], filled with null."""
    width = max(map(len, lists)) if width is None else width
    strings = isinstance(null, str)
    ids = np.full((len(lists), width), b"" if strings else null, dtype=np.object_ if strings else np.int64)
    for row, listed in enumerate(lists):
        for place, item in enumerate(listed):
            if item is not None:
                ids[row, place] = item.encode() if strings else item
    return ids


def _wire(value: object, datatype: str) -> object:
    missing = pd.isna(value)
    if datatype == "BYTES":
        return b"" if missing else str(value).encode()
    if datatype == "FP32":
        return np.nan if missing else value
    if missing:
        return NULL_INT64
    return value.value if isinstance(value, pd.Timestamp) else int(value)
