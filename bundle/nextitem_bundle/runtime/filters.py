"""The filters of a request: which items each session may be recommended, as codes that the retrieval step reads."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .item_index import ItemIndex
from .request import Array, Request, RequestError, check_dtype, read_strings
from .signature import Signature
from .special_ids import PADDING, UNKNOWN
from .wire import NULL_INT64, NULL_STRING

#: Widths of the encoded lists: few, so that requests batch whatever their filters.
WIDTHS = (64, 1_024, 16_384)

#: The request's lists of item ids.
LISTS = EXCLUDE, ALLOW = ("exclude_item_ids", "allow_item_ids")
FILTERS = (*LISTS, "exclude_seen")


def encode_filters(
    tensors: Mapping[str, Array], request: Request, signature: Signature, index: ItemIndex
) -> tuple[Array, Array]:
    """The codes that each session excludes and those that it allows, int64 [B, P] each, padded on the right with 0.

    An id that is not in the catalogue matches nothing: it excludes nothing, and allows nothing but still sets the rule
    (the code of unknown). Raises RequestError.
    """
    rows = len(request.lengths)
    if not any(name in tensors for name in FILTERS):
        return _none(rows), _none(rows)
    excluded = _codes(EXCLUDE, tensors, rows, signature, index)
    allowed = _codes(ALLOW, tensors, rows, signature, index)
    seen = _flags(tensors.get("exclude_seen"), rows)
    if seen.any():
        ids, sessions = request.columns[signature.item_column], request.sessions
        kept = seen[sessions] & ~_is_null(ids)
        excluded = [*excluded, (sessions[kept], index.codes(ids[kept]))]
    excluded = [(sessions[codes != UNKNOWN], codes[codes != UNKNOWN]) for sessions, codes in excluded]
    return _padded(EXCLUDE, excluded, rows), _padded(ALLOW, allowed, rows)


def _codes(
    name: str, tensors: Mapping[str, Array], rows: int, signature: Signature, index: ItemIndex
) -> list[tuple[Array, Array]]:
    """Rows and codes of the ids that are not null, one after the other; nothing where the tensor was not sent."""
    values = tensors.get(name)
    if values is None:
        return []
    check_dtype(name, values, signature.feature(signature.item_column).datatype)
    if values.ndim != 2 or len(values) != rows:
        raise RequestError(
            f"input '{name}' has shape {list(values.shape)}, expected [{rows}, ids]: one row of item ids per session, "
            "filled with null"
        )
    flat = values.ravel()
    if values.dtype == np.object_:
        flat = read_strings(name, flat, np.ones(values.shape, dtype=bool), signature.max_id_bytes, "id")
    kept = ~_is_null(flat)
    sessions = np.repeat(np.arange(rows), values.shape[1])[kept]
    return [(sessions, index.codes(flat[kept]))]


def _is_null(values: Array) -> Array:
    return values == (NULL_STRING if values.dtype == np.object_ else NULL_INT64)


def _flags(values: Array | None, rows: int) -> Array:
    if values is None:
        return np.zeros(rows, dtype=bool)
    if values.dtype != np.bool_:
        raise RequestError(f"input 'exclude_seen' has type {values.dtype}, expected BOOL (bool)")
    if values.shape != (rows, 1):
        raise RequestError(
            f"input 'exclude_seen' has shape {list(values.shape)}, expected [{rows}, 1]: one flag per session"
        )
    return values[:, 0]


def _none(rows: int) -> Array:
    return np.full((rows, WIDTHS[0]), PADDING, dtype=np.int64)


def _padded(name: str, parts: list[tuple[Array, Array]], rows: int) -> Array:
    if not parts:
        return _none(rows)
    sessions = np.concatenate([sessions for sessions, _ in parts])
    codes = np.concatenate([codes for _, codes in parts])
    order = np.lexsort((codes, sessions))
    sessions, codes = sessions[order], codes[order]
    first = np.ones(len(codes), dtype=bool)
    first[1:] = (sessions[1:] != sessions[:-1]) | (codes[1:] != codes[:-1])
    sessions, codes = sessions[first], codes[first]  # each once
    counts = np.bincount(sessions, minlength=rows)
    width = next((width for width in WIDTHS if width >= counts.max(initial=0)), None)
    if width is None:
        raise RequestError(
            f"input '{name}' has {counts.max()} different items for session {counts.argmax()}, at most {WIDTHS[-1]} are "
            "allowed (with exclude_seen, those of the session count too): list items that nobody may get in the bundle's "
            "availability list"
        )
    padded = np.full((rows, width), PADDING, dtype=np.int64)
    padded[sessions, np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)] = codes
    return padded
