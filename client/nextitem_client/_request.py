"""Encoded sessions → the tensors of a request: padding, lengths, top_k, filters, and cutting into requests.

B sessions in one request, T their longest length (at least 1), E the longest list of ids of a filter (at least 1).

Triton batches only requests with the same set of tensors. So session_length and top_k are always
sent, and a filter is sent for all sessions of a call or for none, whether it sets a rule or not.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from nextitem_bundle.signature import Signature
from nextitem_client._exceptions import InvalidOption, UnsupportedOption
from nextitem_client._filters import ALLOW, EXCLUDE, EXCLUDE_SEEN, NO_FILTERS, Filters
from nextitem_client._sessions import encode_session
from nextitem_client._values import NULL_BYTES, NULL_FP32, NULL_INT64

Tensors = Mapping[str, "npt.NDArray[Any]"]

# wire type → numpy type, and what padding holds (nobody reads it: null, so as to be harmless)
_ARRAYS: Mapping[str, tuple[Any, Any]] = {
    "BYTES": (np.object_, NULL_BYTES),
    "INT64": (np.int64, NULL_INT64),
    "FP32": (np.float32, NULL_FP32),
}
_INT32_MAX = 2**31 - 1


def build_requests(
    sessions: Sequence[Any], signature: Signature, k: int | None, filters: Filters = NO_FILTERS
) -> Iterator[dict[str, npt.NDArray[Any]]]:
    """The tensors of one request after the other, `max_sessions_per_request` sessions in each.

    All sessions are checked before the first request is handed out. Raises InvalidSession,
    InvalidOption.
    """
    top_k = _check_k(k, signature)
    encoded = [encode_session(session, signature, i) for i, session in enumerate(sessions)]
    size = signature.max_sessions_per_request
    return (
        build_tensors(encoded[start : start + size], signature, top_k, filters.part(start, start + size))
        for start in range(0, len(encoded), size)
    )


def build_tensors(
    encoded: Sequence[Sequence[Sequence[Any]]],
    signature: Signature,
    top_k: int | None,
    filters: Filters = NO_FILTERS,
) -> dict[str, npt.NDArray[Any]]:
    """One request for `encoded` sessions (per session one list of wire values per feature).

    Features [B, T] by their wire type, padded on the right; session_length and top_k int32 [B, 1];
    ids of filters [B, E] by the item column's wire type, filled up with null; exclude_seen bool [B, 1].
    """
    lengths = [len(columns[0]) if columns else 0 for columns in encoded]
    shape = (len(encoded), max([1, *lengths]))  # (B, T)
    tensors: dict[str, npt.NDArray[Any]] = {}
    for position, feature in enumerate(signature.features):
        rows = [columns[position] for columns in encoded]
        tensors[feature.name] = _padded(rows, shape, feature.datatype)
    tensors["session_length"] = np.array(lengths, dtype=np.int32).reshape(-1, 1)
    if top_k is not None:
        tensors["top_k"] = np.full((len(encoded), 1), top_k, dtype=np.int32)
    item_datatype = next(one.datatype for one in signature.features if one.name == signature.item_column)
    for name, ids in ((EXCLUDE, filters.exclude), (ALLOW, filters.allow)):
        if ids is not None:
            width = max([1, *map(len, ids)])  # E
            tensors[name] = _padded(ids, (len(encoded), width), item_datatype)
    if filters.exclude_seen is not None:
        tensors[EXCLUDE_SEEN] = np.array(filters.exclude_seen, dtype=np.bool_).reshape(-1, 1)
    return tensors


def _padded(rows: Sequence[Sequence[Any]], shape: tuple[int, int], datatype: str) -> npt.NDArray[Any]:
    dtype, padding = _ARRAYS[datatype]
    tensor: npt.NDArray[Any] = np.full(shape, padding, dtype=dtype)
    for row, values in enumerate(rows):
        tensor[row, : len(values)] = values
    return tensor


def _check_k(k: Any, signature: Signature) -> int | None:
    if "top_k" not in signature.options:
        if k is None:
            return None
        raise UnsupportedOption(
            f"k={k!r} was given, but this model's k is fixed at {signature.top_k_default}: it was "
            "exported without the option top_k. Leave k away."
        )
    if k is None:
        # Sent all the same: Triton batches only requests with the same set of tensors.
        return signature.top_k_default
    if _is_int32(k):
        return int(k)
    raise InvalidOption(
        f"k is {k!r} ({type(k).__name__}); expected is an int from 1 to {signature.top_k_limit}, "
        f"or None for {signature.top_k_default}."
    )


def _is_int32(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        return False
    number: int = value.__index__()
    return abs(number) <= _INT32_MAX
