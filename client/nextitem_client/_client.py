"""The client: BaseClient holds what does no I/O, Client adds the blocking I/O."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy.typing as npt

from nextitem_client._exceptions import (
    AmbiguousModel,
    ClientClosed,
    InvalidOption,
    InvalidSession,
    ModelNotFound,
    NotANextItemModel,
)
from nextitem_client._request import build_requests
from nextitem_client._response import OUTPUTS, Recommendation, read_response
from nextitem_client._sessions import Session
from nextitem_client._signature import PARAMETER, Signature, parse_signature
from nextitem_client._transport import Reply, Transport, parse_url
from nextitem_client._triton import connect

DEFAULT_TIMEOUT_S = 10.0


class BaseClient:
    """Checks arguments, builds requests, reads responses and words errors; does no I/O."""

    def __init__(self, url: str, timeout_s: float):
        if isinstance(timeout_s, bool) or not (math.isfinite(timeout_s) and timeout_s > 0):
            raise InvalidOption(f"timeout_s is {timeout_s!r}; expected is a number of seconds > 0.")
        self._address = parse_url(url)
        self._timeout_s = float(timeout_s)
        self._closed = False

    def _requests(
        self, sessions: Iterable[Session], signature: Signature, k: int | None
    ) -> Iterator[dict[str, npt.NDArray[Any]]]:
        if isinstance(sessions, (Mapping, str, bytes)):
            raise InvalidSession(
                "recommend_many() expects a list of sessions, what came is a single mapping or text. "
                "For one session call recommend()."
            )
        return build_requests(list(sessions), signature, k)

    def _recommendations(
        self, reply: Reply, request: Mapping[str, npt.NDArray[Any]], model: str
    ) -> list[Recommendation]:
        sessions = request["session_length"].shape[0]
        return read_response(reply.tensors, sessions, model, reply.model_version)

    def _require_open(self) -> None:
        if self._closed:
            raise ClientClosed(f"The client of {self._address.url} is closed; make a new Client.")

    def _signature_of(self, model: str, parameters: Mapping[str, str]) -> Signature:
        document = parameters.get(PARAMETER)
        if document is None:
            raise NotANextItemModel(
                f"Model {model} at {self._address.url} has no {PARAMETER} in its configuration: it "
                "was not exported by nextitem-export, or is a step of a bundle. Name the bundle."
            )
        return parse_signature(document, model)

    def _not_found(self, model: str, present: list[str]) -> ModelNotFound:
        listed = ", ".join(present) if present else "none"
        return ModelNotFound(
            f"The server at {self._address.url} has no ready model {model}; ready nextitem models: {listed}."
        )

    def _only_one(self, names: list[str]) -> str:
        if not names:
            raise ModelNotFound(
                f"The server at {self._address.url} has no ready nextitem model. Export one into "
                "its repository with nextitem-export and start it again."
            )
        if len(names) > 1:
            raise AmbiguousModel(
                f"The server at {self._address.url} has several nextitem models: "
                f"{', '.join(names)}. Say which: model={names[0]!r} (--model {names[0]})."
            )
        return names[0]


class Client(BaseClient):
    """A connection to one model of a nextitem server; threads may share it.

    Args:
        url: http://host:8000 or grpc://host:8001, https:// and grpcs:// with TLS.
        model: the bundle's name; None takes the server's only nextitem model.
        timeout_s: seconds for each request to the server.

    The model's signature is read once, here. Raises InvalidOption and ServerError's family.
    """

    def __init__(self, url: str, model: str | None = None, *, timeout_s: float = DEFAULT_TIMEOUT_S):
        super().__init__(url, timeout_s)
        self._transport: Transport = connect(self._address, self._timeout_s)
        try:
            self._model = self._only_one(self._nextitem_models()) if model is None else model
            self._signature = self._read_signature()
        except BaseException:
            self.close()
            raise

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._model

    @property
    def signature(self) -> Signature:
        """The model's features and limits."""
        return self._signature

    def recommend(self, session: Session, k: int | None = None) -> Recommendation:
        """The next items of one session; see recommend_many()."""
        return self.recommend_many([session], k)[0]

    def recommend_many(self, sessions: Iterable[Session], k: int | None = None) -> list[Recommendation]:
        """The next items of each session, in the order of `sessions`.

        Args:
            sessions: each a list of events (dicts from feature to value) or a dict from feature to
                a column of values, oldest first where the model has no time column. May be empty.
            k: items wanted per session, 1 to signature.top_k_limit; None: the model's default.

        More sessions than one request may hold are sent in several. Raises InvalidSession,
        InvalidOption, ClientClosed and ServerError's family.
        """
        self._require_open()
        found: list[Recommendation] = []
        for request in self._requests(sessions, self._signature, k):
            found += self._recommendations(self._infer(request), request, self._model)
        return found

    def close(self) -> None:
        """Close the connections; may be repeated."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Client:
        self._require_open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _infer(self, request: Mapping[str, npt.NDArray[Any]]) -> Reply:
        try:
            return self._transport.infer(self._model, request, OUTPUTS)
        except ModelNotFound:  # unloaded meanwhile
            raise self._not_found(self._model, self._nextitem_models()) from None

    def _read_signature(self) -> Signature:
        try:
            parameters = self._transport.model_parameters(self._model)
        except ModelNotFound:
            raise self._not_found(self._model, self._nextitem_models()) from None
        return self._signature_of(self._model, parameters)

    def _nextitem_models(self) -> list[str]:
        names: list[str] = []
        for name in self._transport.ready_models():
            try:
                if PARAMETER in self._transport.model_parameters(name):
                    names.append(name)
            except ModelNotFound:  # unloaded since the list was made
                continue
        return names
