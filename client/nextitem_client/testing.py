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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Optional, Union

from nextitem_client._async_client import AsyncClient
from nextitem_client._client import Client
from nextitem_client._exceptions import InvalidOption, ModelNotFound
from nextitem_client._fake_wire import FakeAnswer, FakeRequest, read_request, write_answers
from nextitem_client._filters import ALLOW, EXCLUDE, EXCLUDE_SEEN
from nextitem_client._signature import DATATYPES, PARAMETER, parse_signature
from nextitem_client._transport import AsyncTransport, Inference, Reply, Transport

__all__ = ["Answer", "FakeAnswer", "FakeRequest", "FakeServer", "fake_async_client", "fake_client"]

_OPTIONS = ("session_length", "top_k", EXCLUDE, ALLOW, EXCLUDE_SEEN)

#: The ids that every session gets, or a function from a session to them. k and filters act afterwards.
Answer = Union[Sequence[Any], FakeAnswer, Callable[[FakeRequest], Union[Sequence[Any], FakeAnswer]]]


@dataclass
class FakeServer:
    """Answers clients made by client() and async_client().

    Args:
        answer: see Answer.
        features: name → kind (string, integer, boolean, float, datetime) of what a session holds.
        item_column: which of them is the item; None: the first.
        signature: the text of a real model's `nextitem.signature`, instead of features and the limits.
        model, version: what the answers say.
        top_k_default, top_k_limit, max_sessions_per_request: the model's.
        options: the optional tensors that the model knows.
        heads: name → number of values of the model's further heads; FakeAnswer gives their values.

    `requests` lists the sessions that came. Raises InvalidOption, UnsupportedSignature.
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
    requests: list[FakeRequest] = field(default_factory=list[FakeRequest], init=False)
    _failures: list[Exception] = field(default_factory=list[Exception], init=False, repr=False)

    def __post_init__(self) -> None:
        self._document = self.signature if self.signature is not None else self._write_signature()
        self._signature = parse_signature(self._document, self.model)

    def client(self, **options: Any) -> Client:
        """A Client of this server; `options` as for Client (retries, timeout_s …)."""
        return _FakeClient(self, options)

    def async_client(self, **options: Any) -> AsyncClient:
        """An AsyncClient of this server; `options` as for AsyncClient."""
        return _FakeAsyncClient(self, options)

    def fail(self, *errors: Exception) -> None:
        """Answer the next requests with these errors, such as ServerUnavailable("down"), one each."""
        self._failures += errors

    def ready_models(self) -> list[str]:
        """What the server's index says."""
        return [self.model]

    def model_parameters(self, model: str) -> Mapping[str, str]:
        """What the model's configuration says."""
        if model != self.model:
            raise ModelNotFound(f"unknown model {model}")
        return {PARAMETER: self._document}

    def infer(self, inference: Inference) -> Reply:
        """Answer one request."""
        if self._failures:
            raise self._failures.pop(0)
        if inference.model != self.model:
            raise ModelNotFound(f"unknown model {inference.model}")
        asked = read_request(inference, self._signature)
        self.requests += asked
        return write_answers([self._recommended(one) for one in asked], asked[0].k, self._signature, self.version)

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
        unknown = [kind for kind in self.features.values() if kind not in DATATYPES]
        if unknown or not self.features:
            raise InvalidOption(
                f"features has the kinds {', '.join(self.features.values()) or '(none)'}; expected is at least one "
                f"feature, of the kinds {', '.join(DATATYPES)}."
            )
        features = [{"name": name, "datatype": DATATYPES[kind], "kind": kind} for name, kind in self.features.items()]
        return json.dumps({
            "format_version": 1, "bundle_version": 1, "window": 20, "max_id_bytes": 1024,
            "max_sessions_per_request": self.max_sessions_per_request, "max_interactions_per_session": 10_000,
            "top_k": {"default": self.top_k_default, "limit": self.top_k_limit},
            "item_column": self.item_column or features[0]["name"], "features": features, "options": list(self.options),
            "heads": [{"name": name, "width": width} for name, width in self.heads.items()],
        })  # fmt: skip


def fake_client(answer: Answer, **server: Any) -> Client:
    """A Client without a server; `server` as for FakeServer."""
    return FakeServer(answer, **server).client()


def fake_async_client(answer: Answer, **server: Any) -> AsyncClient:
    """An AsyncClient without a server; `server` as for FakeServer."""
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
