"""Rows of interactions → sessions, in order of first appearance, without holding the whole file.

Two passes: the first sees the session ids alone and finds those that come in several runs of rows; the second sees the rows
and hands a session out as soon as its last run has ended. Where each session's rows stand together one session is held at
a time; a session that comes back later holds up, in memory, those that began after it.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

#: Rows of a file: the session id of each, and a column of values for each feature.
Rows = tuple[Sequence[Any], Mapping[str, Sequence[Any]]]

_START: Any = object()


@dataclass(frozen=True)
class Sessions:
    """What the first pass found: how many sessions (None is one of them), and the runs of those that have several.

    runs: by hash of the id. 8 bytes are held for each run of rows while counting.
    """

    count: int
    runs: Mapping[int, int]


@dataclass
class GroupedSession:
    """One session: its id and its columns."""

    session_id: Any
    columns: dict[str, list[Any]]
    runs_left: int


def count_sessions(chunks: Iterable[Sequence[Any]]) -> Sessions:
    """The first pass, over the session ids in chunks."""
    hashes = array("q")
    last = _START
    for chunk in chunks:
        for session_id in chunk:
            if session_id != last:
                hashes.append(hash(session_id))
                last = session_id
    found: npt.NDArray[np.int64] = np.array(hashes, dtype=np.int64)
    distinct, counts = np.unique(found, return_counts=True)
    several = counts > 1
    return Sessions(len(distinct), dict(zip(distinct[several].tolist(), counts[several].tolist())))


def group(chunks: Iterable[Rows], sessions: Sessions) -> Iterator[GroupedSession]:
    """The second pass: each session once, complete, in order of first appearance."""
    waiting: dict[Any, GroupedSession] = {}  # in order of first appearance
    current: GroupedSession | None = None
    for ids, columns in chunks:
        for start, stop in _runs(ids):
            session_id = ids[start]
            if current is None or current.session_id != session_id:
                if current is not None:
                    yield from _ended(current, waiting)
                current = waiting.get(session_id)
                if current is None:
                    runs = sessions.runs.get(hash(session_id), 1)
                    current = GroupedSession(session_id, {name: [] for name in columns}, runs)
                    waiting[session_id] = current
            for name, values in columns.items():
                current.columns[name] += values[start:stop]
    # What two ids of one hash have waited for too long comes here as well.
    yield from waiting.values()


def _ended(session: GroupedSession, waiting: dict[Any, GroupedSession]) -> Iterator[GroupedSession]:
    """A run of the session has ended: hand out what is complete and has nothing unfinished before it."""
    session.runs_left -= 1
    while waiting:
        first = next(iter(waiting.values()))
        if first.runs_left > 0:
            return
        yield waiting.pop(first.session_id)


def _runs(ids: Sequence[Any]) -> Iterator[tuple[int, int]]:
    start = 0
    for stop in range(1, len(ids) + 1):
        if stop == len(ids) or ids[stop] != ids[start]:
            yield start, stop
            start = stop
