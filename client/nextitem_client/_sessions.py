"""Checks sessions against the features and turns them into columns of wire values."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Union, cast

import numpy as np

from nextitem_bundle.signature import Feature, Signature
from nextitem_client._exceptions import InvalidSession
from nextitem_client._values import ENCODERS, ValueRefused, encode_plain, is_null

#: A list of events, each a dict from feature to value; or a dict from feature to a column of
#: values (list, tuple, numpy array …), where a single value stands for a constant column.
Session = Union[Sequence[Mapping[str, Any]], Mapping[str, Any]]

_SHOWN_CHARACTERS = 60


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


def is_list(value: Any) -> bool:
    """Whether `value` is a column or list rather than a single value."""
    if isinstance(value, (str, bytes, bytearray, Mapping)) or is_null(value):
        return False
    if isinstance(value, np.ndarray):
        return cast("np.ndarray[Any, Any]", value).ndim > 0
    return hasattr(value, "__len__") and hasattr(value, "__iter__")


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
            raise _wrong_names(known, names, f"event {position} of session {index}")
        for column, name in zip(columns, names):
            column.append(known[name])
    return columns


def _columns_of_mapping(session: Mapping[Any, Any], signature: Signature, index: int) -> list[Sequence[Any]]:
    names = signature.feature_names
    if set(session) != set(names):
        raise _wrong_names(session, names, f"session {index}")
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


def _wrong_names(given: Mapping[Any, Any], names: tuple[str, ...], where: str) -> InvalidSession:
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


def show(value: Any) -> str:
    """`value` as Python writes it, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"
