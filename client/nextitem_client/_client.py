"""Client: BaseClient and blocking I/O."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from types import TracebackType
from typing import Any

from nextitem_client._base import BaseClient
from nextitem_client._flow import run
from nextitem_client._settings import (
    DEFAULT_CONNECT_TIMEOUT_S,
    DEFAULT_POOL_SIZE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    Settings,
    Tls,
)
from nextitem_client._transport import Inference, Transport, connect
from nextitem_client._wire import Session
from nextitem_client._wire.filters import ItemIds, ItemIdsPerSession
from nextitem_client._wire.response import Recommendation, Recommendations

# The parent's connections, in a child: their end would wait for threads that are not there.
_LEFT_BY_FORK: list[Transport] = []


class Client(BaseClient):
    """A connection to one model of a nextitem server. Threads may share it.

    The constructor reads the model's signature. The client reads it again when another version of the model answers.

    Args:
        url: `http://host:8000` or `grpc://host:8001`; `https://` and `grpcs://` with TLS. Over gRPC the servers behind
            a name take turns, or those in a list of addresses: `grpc://192.0.2.4:8001,192.0.2.5:8001`.
        model: the bundle's name. None takes the server's only nextitem model.
        timeout_s: seconds for one request to the server, all its attempts together.
        connect_timeout_s: of these, seconds for one attempt to connect.
        retries: how often a request is repeated where that may help (the server does not answer, is shutting down, or
            its queue is full), with growing pauses, within `timeout_s`.
        retry_too_many_requests: repeat a request that a rate limit refused (HTTP 429), too.
        headers: sent with every request: HTTP headers, gRPC metadata. For API keys and the like.
        compression: "gzip" compresses requests and asks for compressed responses. None sends them as they are.
        tls: certificates, beyond the system's trust store.
        pool_size: the largest number of connections that are kept open (HTTP). gRPC needs one for each server.

    Raises:
        InvalidOption: an argument is out of its range.
        ServerError: the server does not answer or has no such model; a subclass says which.
    """

    def __init__(
        self,
        url: str,
        model: str | None = None,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        connect_timeout_s: float = DEFAULT_CONNECT_TIMEOUT_S,
        retries: int = DEFAULT_RETRIES,
        retry_too_many_requests: bool = False,
        headers: Mapping[str, str] | None = None,
        compression: str | None = None,
        tls: Tls | None = None,
        pool_size: int = DEFAULT_POOL_SIZE,
    ):
        settings = Settings(
            timeout_s=timeout_s,
            connect_timeout_s=connect_timeout_s,
            retries=retries,
            retry_too_many_requests=retry_too_many_requests,
            headers=headers if headers is not None else {},
            compression=compression,
            tls=tls,
            pool_size=pool_size,
        )
        super().__init__(url, model, settings)
        self._transport: Transport | None = None
        try:
            self._found = run(self._opening(), self._way())
        except BaseException:
            self.close()
            raise

    def recommend(
        self,
        session: Session,
        k: int | None = None,
        *,
        exclude: ItemIds | None = None,
        allow: ItemIds | None = None,
        exclude_seen: bool = False,
        request_id: str | None = None,
    ) -> Recommendation:
        """Recommend the next items of one session.

        Args:
            session: a list of events (dicts from feature to value), or a dict from feature to a column of values;
                oldest first where the model has no time column.
            k: items wanted, 1 to `signature.top_k_limit`. None: the model's default.
            exclude: raw ids never to recommend, at most `signature.max_filter_ids`.
            allow: raw ids; only these may be recommended. At least one id.
            exclude_seen: leave out the items of the session itself.
            request_id: appears in the server's log. None makes one up.

        Returns:
            The answer to the session, best item first.

        Raises:
            InvalidSession: the session does not fit the model's features.
            InvalidOption: another argument is out of its range.
            UnsupportedOption: the model was exported without an option that was given.
            ClientClosed: the client was closed before.
            ServerError: the server does not answer or refuses the request; a subclass says which.
        """
        inferences = self._inferences([session], k, exclude, allow, exclude_seen, request_id, one=True)
        return self._answers(inferences)[0]

    def recommend_many(
        self,
        sessions: Iterable[Session],
        k: int | None = None,
        *,
        exclude: ItemIdsPerSession | None = None,
        allow: ItemIdsPerSession | None = None,
        exclude_seen: bool | Sequence[bool] = False,
        request_id: str | None = None,
    ) -> Recommendations:
        """Recommend the next items of each session, in the order of `sessions`.

        More sessions than one request may hold are sent in several requests, one after the other.

        Args:
            sessions: each a list of events (dicts from feature to value) or a dict from feature to a column of values,
                oldest first where the model has no time column. May be empty.
            k: items wanted for each session, 1 to `signature.top_k_limit`. None: the model's default.
            exclude: raw ids never to recommend: one collection for all sessions, or a list with one collection (or
                None) for each session. At most `signature.max_filter_ids` for each session.
            allow: raw ids; only these may be recommended. Given as `exclude` is. An empty collection is refused.
            exclude_seen: leave out the items of the session itself; for all sessions, or a list with one bool for each.
            request_id: appears in the server's log. None makes one up. Several requests get -0, -1 … behind it.

        Returns:
            One answer for each session.

        Raises:
            InvalidSession: a session does not fit the model's features.
            InvalidOption: another argument is out of its range.
            UnsupportedOption: the model was exported without an option that was given.
            ClientClosed: the client was closed before.
            ServerError: the server does not answer or refuses the request; a subclass says which.
        """
        return self._answers(self._inferences(sessions, k, exclude, allow, exclude_seen, request_id))

    def close(self) -> None:
        """Close the connections. May be called again."""
        self._closed = True
        if self._transport is not None and self._process == os.getpid():
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

    def _answers(self, inferences: list[Inference]) -> Recommendations:
        found = Recommendations()
        for inference in inferences:
            self._require_open()
            found += self._recommendations(run(self._inference(inference), self._way()), inference)
        return found

    def _way(self) -> Transport:
        """The connections of this process: made at the first request, after unpickling too, and anew after a fork.

        What a fork copies is of no use: connections are the parent's, locks may be held by threads that the child lacks.
        """
        if self._transport is None or self._process != os.getpid():
            if self._transport is not None:
                _LEFT_BY_FORK.append(self._transport)
            self._transport, self._process = self._connect(), os.getpid()
        return self._transport

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._transport = None

    def _connect(self) -> Transport:
        return connect(self._address, self._settings)
