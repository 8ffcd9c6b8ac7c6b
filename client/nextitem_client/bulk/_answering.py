"""Asks for many sessions: batches, several under way at a time, answered in order."""

from __future__ import annotations

import hashlib
import importlib
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import islice
from typing import Any

from nextitem_client._client import Client
from nextitem_client._exceptions import InvalidSession, MissingPackage, RequestRejected
from nextitem_client._wire.response import Recommendation
from nextitem_client.bulk._grouping import GroupedSession

#: Sessions in a part: what a killed run loses at most.
PART_SESSIONS = 2_048


@dataclass(frozen=True)
class Wanted:
    """What is wanted of every session; `k` is the model's default where it was not given."""

    k: int
    exclude: list[Any] | None
    allow: list[Any] | None
    exclude_seen: bool

    def document(self) -> dict[str, Any]:
        """As a run records it; of lists their digest."""
        ids = {
            name: None if one is None else _digest(one)
            for name, one in (("exclude", self.exclude), ("allow", self.allow))
        }
        return {"k": self.k, "exclude_seen": self.exclude_seen, **ids}


@dataclass(frozen=True)
class Failure:
    """Why a session has no answer."""

    error: str
    reason: str


Answered = list["tuple[GroupedSession, Recommendation | Failure]"]


def _digest(ids: list[Any]) -> str:
    return hashlib.sha256(repr(ids).encode()).hexdigest()


def answer_batches(
    client: Client, sessions: Iterator[GroupedSession], wanted: Wanted, concurrency: int
) -> Iterator[Answered]:
    """Batches in order, each within one part, `concurrency` of them under way at a time."""
    pending: deque[Future[Answered]] = deque()
    pool = ThreadPoolExecutor(concurrency, thread_name_prefix="nextitem-bulk")
    try:
        for batch in _batches(sessions, client.signature.max_sessions_per_request):
            pending.append(pool.submit(_answer, client, batch, wanted))
            if len(pending) > 2 * concurrency:
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


def _batches(sessions: Iterator[GroupedSession], size: int) -> Iterator[list[GroupedSession]]:
    while part := list(islice(sessions, PART_SESSIONS)):
        for start in range(0, len(part), size):
            yield part[start : start + size]


def _answer(client: Client, batch: list[GroupedSession], wanted: Wanted) -> Answered:
    """Answers of a batch; where it is refused, its halves are asked, until the guilty session stands alone."""
    try:
        if len(batch) == 1 and batch[0].session_id is None:
            raise InvalidSession(f"{_interactions(batch[0])} interactions have no session id.")
        if any(session.session_id is None for session in batch):
            raise InvalidSession("One of them has no id.")
        columns = [session.columns for session in batch]
        found = client.recommend_many(
            columns, wanted.k, exclude=wanted.exclude, allow=wanted.allow, exclude_seen=wanted.exclude_seen
        )
        return list(zip(batch, found))
    except (InvalidSession, RequestRejected) as error:
        if len(batch) == 1:
            return [(batch[0], Failure(type(error).__name__, str(error)))]
    middle = len(batch) // 2
    return _answer(client, batch[:middle], wanted) + _answer(client, batch[middle:], wanted)


def _interactions(session: GroupedSession) -> int:
    return max(map(len, session.columns.values()), default=0)


class _Silent:
    def update(self, sessions: int) -> None:
        """Nothing to show."""


def progress_bar(total: int, done: int, *, shown: bool) -> Any:
    """A context manager whose value has update(sessions); drawn where standard error is a terminal.

    Raises MissingPackage.
    """
    if not shown:
        return nullcontext(_Silent())
    try:
        tqdm: Any = importlib.import_module("tqdm")
    except ImportError as error:
        raise MissingPackage(
            f"The progress bar needs tqdm, which cannot be imported ({error}). Install it with: "
            "pip install 'nextitem-client[bulk]', or go without: progress=False (--no-progress)"
        ) from error
    return tqdm.tqdm(total=total, initial=done, unit=" sessions", disable=None, dynamic_ncols=True)
