"""From the tensors of a request to checked, flat columns of valid interactions, and back to padded ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .signature import Feature, Signature
from .wire import LOWEST_FLOAT32, NULL_INT64, NUMPY_DTYPES

Array = NDArray[Any]

_INT32 = np.dtype(np.int32)

_LOWEST, _HIGHEST, _NAN = np.float32(LOWEST_FLOAT32), np.float32(-LOWEST_FLOAT32), np.float32(np.nan)


class RequestError(ValueError):
    """The request cannot be answered; the message names the tensor, what came and what is expected."""


@dataclasses.dataclass(frozen=True)
class Request:
    """The valid interactions of B sessions, one after the other.

    lengths: int64 [B]; valid: bool [B, T], the interactions that are no padding. values: name to [N], N = lengths.sum():
    strings as object array of str, integers, booleans and date-times int64, floats float32 with NaN for null; one more, the
    type's zero, where there is padding. top_k: items wanted per session.
    """

    lengths: Array
    valid: Array
    values: dict[str, Array]
    top_k: int

    @property
    def columns(self) -> dict[str, Array]:
        """Name to the valid interactions [N]."""
        return {name: values[: self.lengths.sum()] for name, values in self.values.items()}

    @property
    def sessions(self) -> Array:
        """The row [N] of the session that each interaction belongs to, int64."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    def tensors(self, newest: int | None = None) -> dict[str, Array]:
        """The columns as [B, T], padded on the right with their types' zero, and `session_length` int64 [B, 1].

        newest: only so many last interactions of each session.
        """
        width = self.valid.shape[1]
        if newest is None or newest >= width:
            newest = width
        kept = np.minimum(self.lengths, newest)
        tensors = {"session_length": kept[:, None]}
        if newest == width and self.lengths.min() == width:
            return tensors | {name: values.reshape(self.valid.shape) for name, values in self.values.items()}
        ranks, ends = np.arange(newest), self.lengths.cumsum()
        places = np.where(ranks < kept[:, None], (ends - kept)[:, None] + ranks, ends[-1])  # the last one is the zero
        return tensors | {name: values.take(places) for name, values in self.values.items()}

    def rising(self, name: str) -> bool:
        """Whether an integer column never falls within a session and holds no null."""
        ends = self.lengths.cumsum()
        values = self.values[name][: ends[-1]]
        follows = values[1:] >= values[:-1]
        ends = ends[:-1]
        follows[ends[(ends > 0) & (ends < len(values))] - 1] = True
        return bool(follows.all() and values.min(initial=0) != NULL_INT64)


def read_request(tensors: Mapping[str, Array], signature: Signature) -> Request:
    """Check a request against the bundle's signature.

    tensors: the raw features [B, T] and optional tensors by name, as they came.
    Raises RequestError with the name of the tensor, what came, what is expected and what to do.
    """
    rows, width = read_shape(tensors, signature)
    for feature in signature.features:
        check_dtype(feature.name, tensors[feature.name], feature.datatype)
    lengths = _session_length(tensors.get("session_length"), rows, width)
    top_k = read_top_k(tensors.get("top_k"), rows, signature)
    valid = np.arange(width) < lengths[:, None]
    places = None if lengths.min() == width else _with_zero(valid.ravel().nonzero()[0])
    values = {
        feature.name: _values(feature, tensors[feature.name], valid, places, signature.max_id_bytes)
        for feature in signature.features
    }
    return Request(lengths, valid, values, top_k)


def _with_zero(places: Array) -> Array:
    """And 0, one more place."""
    longer = np.zeros(len(places) + 1, dtype=places.dtype)
    longer[:-1] = places
    return longer


def read_shape(tensors: Mapping[str, Array], signature: Signature) -> tuple[int, int]:
    """The number of sessions and of the interactions in the longest of them. Raises RequestError."""
    names = [feature.name for feature in signature.features]
    refusal = signature.refusal(tensors)
    if refusal:
        raise RequestError(f"the request is refused, since {refusal}")
    missing = [name for name in names if name not in tensors]
    if missing:
        raise RequestError(
            f"missing input{'s' if len(missing) > 1 else ''} {_quoted(missing)}: a request needs {_quoted(names)}, "
            "each of shape [sessions, interactions]"
        )
    first = tensors[names[0]].shape
    for name in names:
        shape = tensors[name].shape
        if len(shape) != 2:
            raise RequestError(f"input '{name}' has shape {list(shape)}, expected [sessions, interactions]")
        if shape != first:
            raise RequestError(
                f"input '{name}' has shape {list(shape)} but input '{names[0]}' has {list(first)}: all features of a "
                "request share one shape [sessions, interactions]; pad shorter sessions on the right and give their "
                "lengths in 'session_length'"
            )
    rows, width = int(first[0]), int(first[1])
    if rows < 1 or width < 1:
        raise RequestError(
            f"the features have shape {list(first)}, expected at least one session and one interaction; an empty "
            "session is sent as one padded interaction with 'session_length' 0"
        )
    if rows > signature.max_sessions_per_request:
        raise RequestError(
            f"{rows} sessions in one request, at most {signature.max_sessions_per_request} are allowed: send several "
            "requests"
        )
    if width > signature.max_interactions_per_session:
        raise RequestError(
            f"the features have {width} interactions per session, at most {signature.max_interactions_per_session} are "
            f"allowed: send the newest, the model reads {signature.window}"
        )
    return rows, width


def check_dtype(name: str, values: Array, datatype: str) -> None:
    """Raise RequestError unless the tensor has the numpy dtype of this KServe v2 type."""
    expected = NUMPY_DTYPES[datatype]
    if values.dtype != expected:
        raise RequestError(f"input '{name}' has type {values.dtype}, expected {datatype} ({expected.name})")


def _check_column_of_int32(name: str, values: Array, rows: int, meaning: str) -> None:
    if values.dtype != _INT32:
        raise RequestError(f"input '{name}' has type {values.dtype}, expected INT32 (int32)")
    if values.shape != (rows, 1):
        raise RequestError(f"input '{name}' has shape {list(values.shape)}, expected [{rows}, 1]: {meaning}")


def _session_length(values: Array | None, rows: int, width: int) -> NDArray[np.int64]:
    if values is None:
        return np.full(rows, width, dtype=np.int64)
    _check_column_of_int32("session_length", values, rows, "one length per session")
    lengths = values[:, 0].astype(np.int64)
    if lengths.min() < 0 or lengths.max() > width:
        wrong = np.flatnonzero((lengths < 0) | (lengths > width))[0]
        raise RequestError(
            f"input 'session_length' is {lengths[wrong]} for session {wrong}, expected 0 to {width}, the number "
            "of interactions that the features have"
        )
    return lengths


def read_top_k(values: Array | None, rows: int, signature: Signature) -> int:
    """The number of items that a request of so many sessions wants, by its tensor `top_k`. Raises RequestError."""
    if values is None:
        return signature.top_k_default
    _check_column_of_int32("top_k", values, rows, "the number of items wanted, once per session")
    wanted = set(values[:, 0].tolist())
    if len(wanted) > 1:
        raise RequestError(
            f"input 'top_k' has the values {sorted(wanted)}, expected one value for the whole request: "
            "send sessions that want other numbers of items in requests of their own"
        )
    (top_k,) = wanted
    if not 1 <= top_k <= signature.top_k_limit:
        raise RequestError(f"input 'top_k' is {top_k}, expected 1 to {signature.top_k_limit}, the limit set at export")
    return top_k


def _values(feature: Feature, tensor: Array, valid: Array, places: Array | None, max_id_bytes: int) -> Array:
    """The checked values of a feature [B, T]. places: of the N in the flat tensor, and one that becomes the type's zero.

    places None: there is no padding.
    """
    values = tensor.ravel() if places is None else tensor.take(places)
    if places is not None:
        values[-1] = b"" if feature.kind == "string" else 0
    if feature.kind == "string":
        return read_strings(feature.name, values, valid, max_id_bytes)
    if feature.kind == "float":
        odd = np.abs(values) >= _HIGHEST
        if not odd.any():
            return values
        infinite = np.isinf(values)
        if infinite.any():
            raise RequestError(
                f"input '{feature.name}' is infinite {_place(valid, np.flatnonzero(infinite)[0])}, expected a finite "
                f"number; send NaN or {LOWEST_FLOAT32:.8g} where there is none"
            )
        return np.where(values == _LOWEST, _NAN, values)
    return values


def read_strings(name: str, values: Array, valid: Array, max_bytes: int, element: str = "interaction") -> Array:
    """Strings [N] as they came, bytes or str, as str. Raises RequestError.

    valid: [B, T], where each stands. element: what a column of it is, for the error.
    """
    raw = values.tolist()
    decoded = _decoded_at_once(raw, max_bytes)
    if decoded is None:
        return _decoded_singly(name, raw, max_bytes, lambda index: _place(valid, index, element))
    return np.array(decoded, dtype=np.object_)


def _decoded_at_once(raw: list[Any], max_bytes: int) -> list[str] | None:
    """All strings at once, several times faster than one by one; None where one of them is at fault or no bytes.

    No character of UTF-8 spans a NUL, so the joined text is valid exactly where each part is.
    """
    try:
        joined = b"\0".join(raw)
        if _may_exceed(joined, max_bytes) and max(map(len, raw)) > max_bytes:
            return None
        decoded = joined.decode("utf-8").split("\0")
    except (TypeError, UnicodeDecodeError):
        return None
    return decoded if len(decoded) == len(raw) else None  # one with a NUL gives more


def _may_exceed(joined: bytes, max_bytes: int) -> bool:
    """Whether one of the strings that a NUL parts can be longer: it would fill a block of half that size, without a NUL."""
    half = max(1, max_bytes // 2)
    blocks = range(0, len(joined) - half + 1, half)
    return any(joined.find(b"\0", start, start + half) < 0 for start in blocks)


def _decoded_singly(name: str, raw_values: list[Any], max_bytes: int, place: Callable[[int], str]) -> Array:
    """The same with the fault's place in the error."""
    decoded = np.empty(len(raw_values), dtype=np.object_)
    for index, value in enumerate(raw_values):
        raw = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
        if len(raw) > max_bytes:
            raise RequestError(f"input '{name}' has {len(raw)} bytes {place(index)}, at most {max_bytes} are allowed")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise RequestError(
                f"input '{name}' is not valid UTF-8 {place(index)}: byte {raw[error.start]:#04x} at position "
                f"{error.start}"
            ) from None
        if "\0" in text:
            raise RequestError(
                f"input '{name}' has a NUL character {place(index)}, which no string may hold: leave it out"
            )
        decoded[index] = text
    return decoded


def _place(valid: Array, index: int | np.intp, element: str = "interaction") -> str:
    session, position = np.argwhere(valid)[index]
    return f"in session {session}, {element} {position}"


def _quoted(names: list[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
