"""Several requests as one: their tensors one below the other, before any value is looked at."""

from __future__ import annotations

import bisect
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..filters import LISTS, WIDTHS
from ..request import Array
from ..signature import Signature
from ..wire import NULL_INT64, NULL_STRING

#: What stands in padding, by the numpy type's kind: null, which nobody reads in a feature and which sets no rule in a filter.
_FILLS = {"O": NULL_STRING.encode(), "i": NULL_INT64}
#: Tensors with one value a session.
_COLUMNS = ("session_length", "top_k", "exclude_seen")
#: Requests with longer sessions are answered by themselves: all others of a batch would become as wide.
_MAX_WIDTH = 256


def batch_key(tensors: Mapping[str, Array], signature: Signature, rows: int) -> tuple[Any, ...] | None:
    """What requests must have in common to be joined: the tensors, their types, and how wide the lists of filters become.

    rows: the request's sessions. None for a request that is to be answered alone: one with long sessions, and one with a tensor
    that has not a row for each session, which is refused once it is read.
    """
    regular = all(
        values.ndim == 2 and len(values) == rows and (name not in _COLUMNS or values.shape[1] == 1)
        for name, values in tensors.items()
    )
    if not regular or tensors[signature.features[0].name].shape[1] > _MAX_WIDTH:
        return None
    widths = [bisect.bisect_left(WIDTHS, tensors[name].shape[1]) for name in LISTS if name in tensors]
    return (*((name, values.dtype.char) for name, values in tensors.items()), *widths)


def concatenated(requests: Sequence[Mapping[str, Array]], signature: Signature) -> Mapping[str, Array]:
    """The tensors of requests of one kind as those of one request, padded to the longest session; without `top_k`."""
    if len(requests) == 1:
        return {name: values for name, values in requests[0].items() if name != "top_k"}
    joined = {
        name: _one_below_the_other([request[name] for request in requests]) for name in requests[0] if name != "top_k"
    }
    if "session_length" not in joined:
        first = signature.features[0].name
        lengths = [np.full((len(request[first]), 1), request[first].shape[1], np.int32) for request in requests]
        joined["session_length"] = np.concatenate(lengths)
    return joined


def _one_below_the_other(parts: Sequence[Array]) -> Array:
    width = max(part.shape[1] for part in parts)
    if all(part.shape[1] == width for part in parts):
        return np.concatenate(parts)
    joined = np.full((sum(map(len, parts)), width), _FILLS.get(parts[0].dtype.kind, 0), dtype=parts[0].dtype)
    row = 0
    for part in parts:
        joined[row : row + len(part), : part.shape[1]] = part
        row += len(part)
    return joined
