"""AsyncClient: BaseClient and asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from nextitem_client._base import BaseClient
from nextitem_client._flow import run_async
from nextitem_client._settings import (
    DEFAULT_CONNECT_TIMEOUT_S,
    DEFAULT_MAX_CONCURRENCY,
    DEFAULT_POOL_SIZE,
    DEFAULT_RETRIES,
    DEFAULT_TIMEOUT_S,
    Settings,
    Tls,
    require_count,
)
from nextitem_client._transport import AsyncTransport, Inference, connect_async
from nextitem_client._wire import Session
from nextitem_client._wire.filters import ItemIds, ItemIdsPerSession
from nextitem_client._wire.response import Recommendation, Recommendations


@dataclass(frozen=True)
class _Way:
    """An event loop's connections, and what keeps two of its tasks from opening the client at once."""

    transport: AsyncTransport
    opening: asyncio.Lock


class AsyncClient(BaseClient):
    """`Client` for asyncio: the same methods, awaited. Tasks may share it, also tasks of several event loops.

    Each event loop has connections of its own, since asyncio's connections belong to one loop. The model's signature is
    read by `async with` or `open()`; the first call opens the client where neither was used.

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
        pool_size: the largest number of connections (HTTP). Further requests wait for one, within `timeout_s`.
        max_concurrency: the largest number of requests that one `recommend_many()` has in flight at once.

    Raises:
        InvalidOption: an argument is out of its range.
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
        max_concurrency: int = DEFAULT_MAX_CONCURRENCY,
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
        require_count("max_concurrency", max_concurrency, 1)
        self._max_concurrency = max_concurrency
        self._ways: dict[asyncio.AbstractEventLoop, _Way] = {}

    async def open(self) -> None:
        """Connect and read the model's signature. May be called again.

        Raises:
            ClientClosed: the client was closed before.
            ServerError: the server does not answer or has no such model; a subclass says which.
        """
        self._require_open()
        if self._found is not None:
            return
        way = self._way()
        async with way.opening:
            self._require_open()
            if self._found is None:
                self._found = await run_async(self._opening(), way.transport)

    async def recommend(
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
        await self.open()
        inferences = self._inferences([session], k, exclude, allow, exclude_seen, request_id, one=True)
        return (await self._answers(inferences))[0]

    async def recommend_many(
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

        More sessions than one request may hold are sent in several requests, at most `max_concurrency` of them at once.

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
        await self.open()
        return await self._answers(self._inferences(sessions, k, exclude, allow, exclude_seen, request_id))

    async def close(self) -> None:
        """Close the connections of all event loops. May be called again."""
        self._closed = True
        while self._ways:
            loop, way = self._ways.popitem()
            if loop is asyncio.get_running_loop():
                await way.transport.close()
            elif loop.is_running():  # another thread's
                asyncio.run_coroutine_threadsafe(way.transport.close(), loop)
            else:
                way.transport.abandon()

    async def __aenter__(self) -> AsyncClient:
        try:
            await self.open()
        except BaseException:
            await self.close()
            raise
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def _answers(self, inferences: list[Inference]) -> Recommendations:
        answers: list[list[Recommendation]] = [[] for _ in inferences]
        waiting = iter(enumerate(inferences))
        workers = [
            asyncio.ensure_future(self._work(waiting, answers))
            for _ in range(min(self._max_concurrency, len(inferences)))
        ]
        try:
            await asyncio.gather(*workers)
        finally:  # one failed, or we were cancelled: the others are of no use
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return Recommendations(answer for part in answers for answer in part)

    async def _work(self, waiting: Iterator[tuple[int, Inference]], answers: list[list[Recommendation]]) -> None:
        for number, inference in waiting:
            self._require_open()
            reply = await run_async(self._inference(inference), self._way().transport)
            answers[number] = self._recommendations(reply, inference)

    def _way(self) -> _Way:
        """The running event loop's, made at its first request; ended loops' are let go."""
        loop = asyncio.get_running_loop()
        way = self._ways.get(loop)
        if way is None:
            for ended in [other for other in list(self._ways) if other.is_closed()]:
                left = self._ways.pop(ended, None)  # None: another thread was faster
                if left is not None:
                    left.transport.abandon()
            way = self._ways[loop] = _Way(self._connect(), asyncio.Lock())
        return way

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._ways = {}

    def _connect(self) -> AsyncTransport:
        return connect_async(self._address, self._settings)
