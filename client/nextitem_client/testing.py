"""A server that is none, for the tests of programs that use this package.

from nextitem_client.testing import FakeServer

server = FakeServer(["B7", "C3", "A12"], features={"item_id": "string", "timestamp": "datetime"})
client = server.client()
assert client.recommend({"item_id": ["A12"], "timestamp": [0]}, k=2, exclude_seen=True).item_ids == ["B7", "C3"]
assert server.requests[0].session["item_id"] == ["A12"]

The clients are real ones: sessions, k and filters are checked as ever, requests are built, failures
are repeated and responses read. Only what would go over the network is answered in this process.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union, cast

import numpy as np
import numpy.typing as npt

from nextitem_bundle.signature import FORMAT_VERSION, PARAMETER, Feature, Head, Signature
from nextitem_bundle.wire import DATATYPES, LOWEST_FLOAT32, NULL_INT64
from nextitem_client._async_client import AsyncClient
from nextitem_client._client import Client
from nextitem_client._exceptions import InvalidOption, ModelNotFound, RequestRejected
from nextitem_client._signature import parse_signature
from nextitem_client._transport import AsyncTransport, Inference, Reply, Transport
from nextitem_client._wire import Tensors
from nextitem_client._wire.filters import ALLOW, EXCLUDE, EXCLUDE_SEEN
from nextitem_client._wire.values import ENCODERS, NULL_BYTES, ValueRefused

__all__ = ["Answer", "FakeAnswer", "FakeRequest", "FakeServer", "fake_async_client", "fake_client"]

_OPTIONS = ("session_length", "top_k", EXCLUDE, ALLOW, EXCLUDE_SEEN)


@dataclass(frozen=True)
class FakeRequest:
    """One session of a request, as the server sees it: raw values, None for null.

    Attributes:
        session: the values of each feature, oldest first.
        k: items wanted.
        exclude: raw ids never to recommend.
        allow: raw ids; only these may be recommended. None where there is no such rule.
        exclude_seen: leave out the items of the session itself.
        request_id: as the client sent it.
    """

    session: dict[str, list[Any]]
    k: int
    exclude: list[Any]
    allow: Optional[list[Any]]
    exclude_seen: bool
    request_id: str


@dataclass(frozen=True)
class FakeAnswer:
    """The answer to one session.

    Args:
        item_ids: raw ids, best first.
        scores: one for each id. None: falling from 1.
        status: "ok", "cold" or "empty". None: "ok", or "empty" for a session without events.
        heads: the values of each further head. None: all of them null.
    """

    item_ids: Sequence[Any]
    scores: Optional[Sequence[float]] = None
    status: Optional[str] = None
    heads: Optional[Mapping[str, Sequence[Optional[float]]]] = None


Answer = Union[Sequence[Any], FakeAnswer, Callable[[FakeRequest], Union[Sequence[Any], FakeAnswer]]]
"""The ids that every session gets, or a function from a session to them. `k` and the filters act afterwards."""


@dataclass
class FakeServer:
    """Answers the clients that `client()` and `async_client()` make.

    Args:
        answer: the ids that every session gets, or a function from a session to them.
        features: name to kind (string, integer, boolean, float, datetime) of what a session holds.
        item_column: the feature that is the item. None: the first.
        signature: the text of a real model's `nextitem.signature`, instead of features and limits.
        model: the model's name.
        version: the model's version, as the answers say it.
        top_k_default: items in an answer where a call does not say how many.
        top_k_limit: the largest number of items in an answer.
        max_sessions_per_request: the largest number of sessions in one request.
        options: the optional tensors that the model knows.
        heads: name to number of values of the model's further heads. FakeAnswer gives their values.
        catalogue: name to kind of the items' attributes that the model has itself, so that no session may hold them.

    Attributes:
        requests: the sessions that came, in order.

    Raises:
        InvalidOption: a kind of feature is unknown, or there is no feature.
        UnsupportedSignature: `signature` cannot be read.
    """

    answer: Answer
    features: Mapping[str, str] = field(default_factory=lambda: {"item_id": "string"})
    item_column: Optional[str] = None
    signature: Optional[str] = None
    model: str = "fake"
    version: str = "1"
    top_k_default: int = 20
    top_k_limit: int = 100
    max_sessions_per_request: int = 64
    options: Sequence[str] = _OPTIONS
    heads: Mapping[str, int] = field(default_factory=dict[str, int])
    catalogue: Mapping[str, str] = field(default_factory=dict[str, str])
    requests: list[FakeRequest] = field(default_factory=list[FakeRequest], init=False)
    _failures: list[Exception] = field(default_factory=list[Exception], init=False, repr=False)

    def __post_init__(self) -> None:
        self._document = self.signature if self.signature is not None else self._write_signature()
        self._signature = parse_signature(self._document, self.model)

    def client(self, **options: Any) -> Client:
        """Make a Client of this server.

        Args:
            **options: as for Client: `retries`, `timeout_s` …

        Returns:
            The client.
        """
        return _FakeClient(self, options)

    def async_client(self, **options: Any) -> AsyncClient:
        """Make an AsyncClient of this server.

        Args:
            **options: as for AsyncClient: `retries`, `timeout_s` …

        Returns:
            The client.
        """
        return _FakeAsyncClient(self, options)

    def fail(self, *errors: Exception) -> None:
        """Answer the next requests with errors, such as `ServerUnavailable("down")`.

        Args:
            *errors: one for each request.
        """
        self._failures += errors

    def ready_models(self) -> list[str]:
        """The models of the server's index."""
        return [self.model]

    def model_parameters(self, model: str) -> Mapping[str, str]:
        """The parameters in the model's configuration.

        Args:
            model: the model's name.

        Raises:
            ModelNotFound: the server has no such model.
        """
        if model != self.model:
            raise ModelNotFound(f"unknown model {model}")
        return {PARAMETER: self._document}

    def infer(self, inference: Inference) -> Reply:
        """Answer one request.

        Args:
            inference: the request's tensors, as the transport sends them.

        Raises:
            ModelNotFound: the server has no such model.
            RequestRejected: the request breaks a limit of the signature.
        """
        if self._failures:
            raise self._failures.pop(0)
        if inference.model != self.model:
            raise ModelNotFound(f"unknown model {inference.model}")
        asked = _read_request(inference, self._signature)
        self.requests += asked
        return _write_answers([self._recommended(one) for one in asked], asked[0].k, self._signature, self.version)

    def _recommended(self, request: FakeRequest) -> FakeAnswer:
        given = self.answer(request) if callable(self.answer) else self.answer
        answer = given if isinstance(given, FakeAnswer) else FakeAnswer(given)
        ids = list(answer.item_ids)
        scores = list(answer.scores) if answer.scores is not None else [1 / (rank + 1) for rank in range(len(ids))]
        if len(scores) != len(ids):
            raise InvalidOption(f"A FakeAnswer has {len(ids)} item_ids and {len(scores)} scores; expected are as many.")
        barred = set(request.exclude)
        if request.exclude_seen:
            barred |= set(request.session[self._signature.item_column])
        kept = [
            (item, score)
            for item, score in zip(ids, scores)
            if item not in barred and (request.allow is None or item in request.allow)
        ][: request.k]
        empty = not request.session[self._signature.item_column]
        status = answer.status if answer.status is not None else "empty" if empty else "ok"
        return FakeAnswer([item for item, _ in kept], [score for _, score in kept], status, answer.heads)

    def _write_signature(self) -> str:
        for name, given in (("features", self.features), ("catalogue", self.catalogue)):
            if any(kind not in DATATYPES for kind in given.values()) or not self.features:
                raise InvalidOption(
                    f"{name} has the kinds {', '.join(given.values()) or '(none)'}; expected is at least one feature, of "
                    f"the kinds {', '.join(DATATYPES)}."
                )
        features, catalogue = _described(self.features), _described(self.catalogue)
        return json.dumps({
            "format_version": FORMAT_VERSION, "bundle_version": 1, "window": 20, "max_id_bytes": 1024,
            "max_sessions_per_request": self.max_sessions_per_request, "max_interactions_per_session": 10_000,
            "top_k": {"default": self.top_k_default, "limit": self.top_k_limit},
            "item_column": self.item_column or features[0]["name"], "features": features, "options": list(self.options),
            "heads": [{"name": name, "width": width} for name, width in self.heads.items()], "catalogue": catalogue,
        })  # fmt: skip


def _described(kinds: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": name, "datatype": DATATYPES[kind], "kind": kind} for name, kind in kinds.items()]


def fake_client(answer: Answer, **server: Any) -> Client:
    """Make a Client without a server.

    Args:
        answer: the ids that every session gets, or a function from a session to them.
        **server: as for FakeServer: `features`, `model` …

    Returns:
        The client.
    """
    return FakeServer(answer, **server).client()


def fake_async_client(answer: Answer, **server: Any) -> AsyncClient:
    """Make an AsyncClient without a server.

    Args:
        answer: the ids that every session gets, or a function from a session to them.
        **server: as for FakeServer: `features`, `model` …

    Returns:
        The client.
    """
    return FakeServer(answer, **server).async_client()


class _FakeClient(Client):
    def __init__(self, server: FakeServer, options: Mapping[str, Any]):
        self._server = server
        super().__init__("http://fake-server", server.model, **options)

    def _connect(self) -> Transport:
        return _FakeTransport(self._server)


class _FakeAsyncClient(AsyncClient):
    def __init__(self, server: FakeServer, options: Mapping[str, Any]):
        self._server = server
        super().__init__("http://fake-server", server.model, **options)

    def _connect(self) -> AsyncTransport:
        return _FakeAsyncTransport(self._server)


@dataclass(frozen=True)
class _FakeTransport:
    server: FakeServer

    def ready_models(self, timeout_s: float) -> list[str]:
        return self.server.ready_models()

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        return self.server.model_parameters(model)

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        return self.server.infer(inference)

    def close(self) -> None:
        pass


@dataclass(frozen=True)
class _FakeAsyncTransport:
    server: FakeServer

    async def ready_models(self, timeout_s: float) -> list[str]:
        return self.server.ready_models()

    async def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        return self.server.model_parameters(model)

    async def infer(self, inference: Inference, timeout_s: float) -> Reply:
        return self.server.infer(inference)

    async def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass


def _read_request(inference: Inference, signature: Signature) -> list[FakeRequest]:
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


def _write_answers(answers: Iterable[FakeAnswer], k: int, signature: Signature, version: str) -> Reply:
    rows = list(answers)
    item = next(feature for feature in signature.features if feature.name == signature.item_column)
    text = item.datatype == "BYTES"
    shape = (len(rows), k)
    ids: npt.NDArray[Any] = np.full(shape, NULL_BYTES if text else NULL_INT64, dtype=np.object_ if text else np.int64)
    scores = np.full(shape, LOWEST_FLOAT32, dtype=np.float32)
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
    return [LOWEST_FLOAT32 if value is None else value for value in values]


def _encoded(value: Any, item: Feature) -> Any:
    try:
        return ENCODERS[item.kind](value)
    except ValueRefused as refused:
        raise InvalidOption(
            f"The fake's answer holds {value!r} ({type(value).__name__}); expected is {refused}, as {item.name} is a "
            f"{item.kind} in its model."
        ) from None
