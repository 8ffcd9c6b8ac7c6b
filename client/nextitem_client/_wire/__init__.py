"""Sessions → the tensors of requests: columns checked and encoded, padding, lengths, top_k, filters, cutting.

B sessions in one request, T their longest length (at least 1), E the longest list of ids of a filter (at least 1).

Triton batches only requests with the same set of tensors. So session_length and top_k are always
sent, and a filter is sent for all sessions of a call or for none, whether it sets a rule or not.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Union, cast

import numpy as np
import numpy.typing as npt

from nextitem_bundle.signature import Feature, Signature
from nextitem_bundle.wire import NULLS, NUMPY_DTYPES
from nextitem_client._exceptions import InvalidOption, InvalidSession, UnsupportedOption
from nextitem_client._wire.filters import ALLOW, EXCLUDE, EXCLUDE_SEEN, NO_FILTERS, Filters
from nextitem_client._wire.values import (
    ENCODERS,
    ValueRefused,
    encode_plain,
    is_list,
    show,
)

Tensors = Mapping[str, "npt.NDArray[Any]"]

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
    # Padding holds null, so as to be harmless: nobody reads it.
    tensor: npt.NDArray[Any] = np.full(shape, NULLS[datatype], dtype=NUMPY_DTYPES[datatype])
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


Session = Union[Sequence[Mapping[str, Any]], Mapping[str, Any]]
"""A list of events, each a dict from feature to value; or a dict from feature to a column of values (list, tuple, numpy
array …), where a single value stands for a constant column.
"""


def encode_session(session: Any, signature: Signature, index: int) -> list[list[Any]]:
    """The wire values of session number `index`: one list of length t per feature.

    Raises InvalidSession.
    """
    if isinstance(session, Mapping):
        columns = _columns_of_mapping(cast("Mapping[Any, Any]", session), signature, index)
    elif is_list(session):
        columns = _columns_of_events(cast("Iterable[Any]", session), signature, index)
    else:
        raise InvalidSession(
            f"Session {index} is a {type(session).__name__}; expected is a list of events (dicts) "
            f"or a dict of columns, with the features {', '.join(signature.feature_names)}."
        )
    return [_encode_column(column, feature, index) for column, feature in zip(columns, signature.features)]


def _columns_of_events(events: Iterable[Any], signature: Signature, index: int) -> list[list[Any]]:
    names = signature.feature_names
    expected = set(names)
    columns: list[list[Any]] = [[] for _ in names]
    for position, event in enumerate(events):
        if not isinstance(event, Mapping):
            raise InvalidSession(
                f"Event {position} of session {index} is a {type(event).__name__} ({show(event)}); "
                f"expected is a dict with the features {', '.join(names)}."
            )
        known = cast("Mapping[Any, Any]", event)
        if set(known) != expected:
            raise _wrong_names(known, signature, f"event {position} of session {index}")
        for column, name in zip(columns, names):
            column.append(known[name])
    return columns


def _columns_of_mapping(session: Mapping[Any, Any], signature: Signature, index: int) -> list[Sequence[Any]]:
    names = signature.feature_names
    if set(session) != set(names):
        raise _wrong_names(session, signature, f"session {index}")
    lengths = {name: len(session[name]) for name in names if is_list(session[name])}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InvalidSession(
            f"The columns of session {index} differ in length ({found}); each needs one value per "
            "event. Use None where a value is missing."
        )
    length = next(iter(lengths.values()), 1)  # single values only: one event
    return [session[name] if name in lengths else [_single(session[name])] * length for name in names]


def _single(value: Any) -> Any:
    # A numpy array without dimensions is its one value.
    return cast("np.ndarray[Any, Any]", value)[()] if isinstance(value, np.ndarray) else value


def _wrong_names(given: Mapping[Any, Any], signature: Signature, where: str) -> InvalidSession:
    names, refusal = signature.feature_names, signature.refusal(given)
    if refusal:
        return InvalidSession(f"{where[0].upper()}{where[1:]} cannot be sent, since {refusal}.")
    missing = [name for name in names if name not in given]
    unknown = [name for name in given if name not in names]
    problems: list[str] = []
    for name in unknown:
        near = difflib.get_close_matches(str(name), missing or names, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        problems.append(f"has {name!r}, which is no feature of the model{hint}")
    if missing:
        problems.append(f"lacks {', '.join(missing)} (use None for a missing value)")
    return InvalidSession(
        f"{where[0].upper()}{where[1:]} {' and '.join(problems)}. The features are: {', '.join(names)}."
    )


def _encode_column(column: Sequence[Any], feature: Feature, index: int) -> list[Any]:
    if isinstance(column, np.ndarray):
        array = cast("np.ndarray[Any, Any]", column)
        if array.ndim > 1:
            raise InvalidSession(
                f"Feature {feature.name} of session {index} is an array of shape {array.shape}; "
                "expected is one dimension, one value per event."
            )
        # tolist() would make ints of datetime64 in a unit that the type no longer tells.
        column = list(array) if array.dtype.kind in "mM" else array.tolist()
    plain = encode_plain(feature.kind, column if isinstance(column, list) else list(column))
    if plain is not None:
        return plain
    encode = ENCODERS[feature.kind]
    encoded: list[Any] = []
    for position, value in enumerate(column):
        try:
            encoded.append(encode(value))
        except ValueRefused as refused:
            raise InvalidSession(
                f"Feature {feature.name} of event {position} of session {index} is "
                f"{show(value)} ({type(value).__name__}); expected is {refused}, or None."
            ) from None
    return encoded
