"""The tensors of a request as the fake server of `testing.py` reads them, and its answers as tensors."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Optional, cast

import numpy as np
import numpy.typing as npt

from nextitem_bundle.signature import Feature, Head, Signature
from nextitem_client._exceptions import InvalidOption, RequestRejected
from nextitem_client._filters import ALLOW, EXCLUDE, EXCLUDE_SEEN
from nextitem_client._request import Tensors
from nextitem_client._transport import Inference, Reply
from nextitem_client._values import ENCODERS, FP32_LOWEST, NULL_BYTES, NULL_INT64, ValueRefused


@dataclass(frozen=True)
class FakeRequest:
    """One session of a request, as the server sees it: raw values, None for null."""

    session: dict[str, list[Any]]
    k: int
    exclude: list[Any]
    allow: Optional[list[Any]]
    exclude_seen: bool
    request_id: str


@dataclass(frozen=True)
class FakeAnswer:
    """Item ids, best first; scores fall from 1 where they are not given, status is ok or empty, heads are null."""

    item_ids: Sequence[Any]
    scores: Optional[Sequence[float]] = None
    status: Optional[str] = None
    heads: Optional[Mapping[str, Sequence[Optional[float]]]] = None


def read_request(inference: Inference, signature: Signature) -> list[FakeRequest]:
    """Check the tensors as a server does, and read them. Raises RequestRejected."""
    tensors = inference.inputs
    lengths: list[int] = tensors["session_length"][:, 0].tolist()
    k = int(tensors["top_k"][0, 0]) if "top_k" in tensors else signature.top_k_default
    if not 1 <= k <= signature.top_k_limit:
        raise RequestRejected(f"'top_k' is {k}; expected is 1 to {signature.top_k_limit}.")
    longest = max(lengths)
    if longest > signature.max_interactions_per_session:
        raise RequestRejected(
            f"A session has {longest} interactions; expected are at most {signature.max_interactions_per_session}."
        )
    item = next(feature for feature in signature.features if feature.name == signature.item_column)
    requests: list[FakeRequest] = []
    for row, length in enumerate(lengths):
        session = {
            feature.name: [_raw(value, feature, signature) for value in tensors[feature.name][row, :length].tolist()]
            for feature in signature.features
        }
        allow = _ids(tensors, ALLOW, row, item, signature)
        seen = bool(tensors[EXCLUDE_SEEN][row, 0]) if EXCLUDE_SEEN in tensors else False
        exclude = _ids(tensors, EXCLUDE, row, item, signature)
        requests.append(FakeRequest(session, k, exclude, allow or None, seen, inference.request_id))
    return requests


def _ids(tensors: Tensors, name: str, row: int, item: Feature, signature: Signature) -> list[Any]:
    if name not in tensors:
        return []
    values = [_raw(value, item, signature) for value in tensors[name][row].tolist()]
    return [value for value in values if value is not None]


def _raw(value: Any, feature: Feature, signature: Signature) -> Any:
    if isinstance(value, bytes):
        if len(value) > signature.max_id_bytes:
            raise RequestRejected(
                f"'{feature.name}' holds a text of {len(value)} bytes; expected are at most {signature.max_id_bytes}."
            )
        return value.decode("utf-8") if value != NULL_BYTES else None
    if value != value or value == NULL_INT64:
        return None
    return bool(value) if feature.kind == "boolean" else value


def write_answers(answers: Iterable[FakeAnswer], k: int, signature: Signature, version: str) -> Reply:
    rows = list(answers)
    item = next(feature for feature in signature.features if feature.name == signature.item_column)
    text = item.datatype == "BYTES"
    shape = (len(rows), k)
    ids: npt.NDArray[Any] = np.full(shape, NULL_BYTES if text else NULL_INT64, dtype=np.object_ if text else np.int64)
    scores = np.full(shape, FP32_LOWEST, dtype=np.float32)
    status: npt.NDArray[Any] = np.empty((len(rows), 1), dtype=np.object_)
    for row, answer in enumerate(rows):
        count = len(answer.item_ids)
        ids[row, :count] = [_encoded(value, item) for value in answer.item_ids]
        scores[row, :count] = cast("Sequence[float]", answer.scores)
        status[row, 0] = str(answer.status).encode()
    heads = {
        head.name: np.array([_head(answer, head) for answer in rows], dtype=np.float32) for head in signature.heads
    }
    return Reply({"item_ids": ids, "scores": scores, "status": status, **heads}, version)


def _head(answer: FakeAnswer, head: Head) -> list[float]:
    values = (answer.heads or {}).get(head.name, [None] * head.width)
    if len(values) != head.width:
        raise InvalidOption(
            f"A FakeAnswer has {len(values)} values of the head {head.name}; expected are {head.width}, as many as the "
            "model's signature says."
        )
    return [FP32_LOWEST if value is None else value for value in values]


def _encoded(value: Any, item: Feature) -> Any:
    try:
        return ENCODERS[item.kind](value)
    except ValueRefused as refused:
        raise InvalidOption(
            f"The fake's answer holds {value!r} ({type(value).__name__}); expected is {refused}, as {item.name} is a "
            f"{item.kind} in its model."
        ) from None
