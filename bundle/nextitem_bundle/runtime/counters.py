"""What was asked of a step and answered by it, counted in its process until somebody takes the counts away."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

import numpy as np

from .request import Array
from .special_ids import FIRST_ITEM
from .wire import LOWEST_FLOAT32

#: Upper bounds of the buckets of `nextitem_session_length`, in interactions; one more is without a bound.
LENGTHS = (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233)


class Series(NamedTuple):
    """A time series: the metric's name and the value of its one label, None for one without."""

    metric: str
    label: str | None = None


SESSIONS, INTERACTIONS, ITEMS = (
    "nextitem_sessions_total",
    "nextitem_interactions_total",
    "nextitem_items_returned_total",
)
REFUSED = "nextitem_requests_refused_total"
LENGTH_BUCKET, LENGTH_SUM, LENGTH_COUNT = (f"nextitem_session_length_{part}" for part in ("bucket", "sum", "count"))

#: Each metric's label, None for none, and what it counts.
METRICS: dict[str, tuple[str | None, str]] = {
    SESSIONS: ("status", "Sessions answered, by the status of the answer: ok, cold or empty"),
    INTERACTIONS: ("known", "Interactions that the model read, by whether their item is one of the catalogue"),
    ITEMS: (None, "Items recommended, those that only fill an answer up left out"),
    REFUSED: ("reason", "Requests without an answer: invalid, busy or fault"),
    LENGTH_BUCKET: ("le", "Sessions by the number of interactions that were sent"),
    LENGTH_SUM: (None, "Interactions that were sent"),
    LENGTH_COUNT: (None, "Sessions that were sent"),
}
_BOUNDS = [*map(str, LENGTHS), "+Inf"]


class Counters:
    """Counts by series. What is to be counted is kept as it came until it is taken, at no cost to a request."""

    def __init__(self) -> None:
        self._read: list[tuple[Array, Array]] = []
        self._answered: list[tuple[Array, Array]] = []
        self._refused: Counter[str] = Counter()

    def read(self, lengths: Array, codes: Array) -> None:
        """Sessions were read. lengths: int64 [B], as sent; codes: int64 [B, window], the items that the model reads."""
        self._read.append((lengths, codes))

    def answered(self, status: Array, scores: Array, top_k: Array) -> None:
        """Sessions were answered. status: str or bytes [B, 1]; scores: float32 [B, K]; top_k: int64 [B, 1], how many count."""
        self._answered.append((status, scores[np.arange(scores.shape[1]) < top_k]))

    def refused(self, reason: str, requests: int = 1) -> None:
        """Requests got no answer."""
        self._refused[reason] += requests

    def take(self) -> dict[Series, int]:
        """What was counted since the last time; of sessions that were read all series, those at 0 too."""
        counts = {Series(REFUSED, reason): count for reason, count in self._refused.items()}
        if self._read:
            lengths, codes = (
                np.concatenate([part.ravel() for part in parts]) for parts in zip(*self._read, strict=True)
            )
            counts |= _of_sessions(lengths, codes)
        if self._answered:
            status, scores = (
                np.concatenate([part.ravel() for part in parts]) for parts in zip(*self._answered, strict=True)
            )
            counts[Series(ITEMS)] = int((scores > LOWEST_FLOAT32).sum())
            by_status: Counter[str] = Counter(status.tolist())
            counts |= {Series(SESSIONS, name): count for name, count in by_status.items()}
        self._read.clear()
        self._answered.clear()
        self._refused.clear()
        return counts


def _of_sessions(lengths: Array, codes: Array) -> dict[Series, int]:
    kinds = np.bincount(np.minimum(codes, FIRST_ITEM), minlength=FIRST_ITEM + 1)
    buckets = np.bincount(np.searchsorted(LENGTHS, lengths), minlength=len(_BOUNDS)).cumsum().tolist()
    return {
        Series(INTERACTIONS, "true"): int(kinds[FIRST_ITEM]),
        Series(INTERACTIONS, "false"): int(kinds[1:FIRST_ITEM].sum()),  # null and unknown
        **{Series(LENGTH_BUCKET, bound): count for bound, count in zip(_BOUNDS, buckets, strict=True)},
        Series(LENGTH_SUM): int(lengths.sum()),
        Series(LENGTH_COUNT): len(lengths),
    }
