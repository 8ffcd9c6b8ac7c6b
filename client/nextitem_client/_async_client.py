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
    """Client for asyncio: the same methods, awaited; tasks may share it, also those of several event loops.

    Each event loop has connections of its own, since asyncio's belong to one.

    Args:
        max_concurrency: requests that one recommend_many() has under way at once.
        pool_size: connections at most (HTTP); further requests wait for one, within timeout_s.

    The others as for Client. The model's signature is read by `async with` or open(), which the
    first call does by itself.
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
        """Connect and read the model's signature; may be repeated. Raises ServerError's family."""
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
        """The next items of one session; see Client.recommend_many()."""
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
        """As Client.recommend_many(); several requests are under way at once, max_concurrency at most."""
        await self.open()
        return await self._answers(self._inferences(sessions, k, exclude, allow, exclude_seen, request_id))

    async def close(self) -> None:
        """Close the connections, those of all event loops; may be repeated."""
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
