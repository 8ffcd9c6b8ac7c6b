"""What every model has to beat: popularity, and what followed an item in training.

Both rank without scores of the whole catalogue: they count the items that come before the target.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.evaluation import Questions
from nextitem_training.special_ids import FIRST_KNOWN

Followers = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""An item's place, below 0 for an unknown one → places, rising, and how often each followed it, above 0: int64 [F] both."""


def popularity_ranks(counts: np.ndarray, questions: Questions) -> np.ndarray:
    """Ranks [N] by how often an item occurs in training, the same for all. counts: int64 [V - 3]."""
    nothing = np.empty(0, np.int64)
    return _ranks(counts, questions, lambda last: (nothing, nothing))


def cooccurrence_ranks(
    training: EncodedSessions, item_feature: str, counts: np.ndarray, questions: Questions
) -> np.ndarray:
    """Ranks [N] by how often an item followed the input's last one in training; popularity breaks ties.

    Args:
        training: whole training sessions.
        item_feature: the feature that holds the item codes.
        counts: int64 [V - 3], popularity.
        questions: what is asked.
    """
    codes = training.features[item_feature]
    inside = np.ones(len(codes), dtype=bool)
    inside[training.offsets[1:] - 1] = False  # a session's last item is followed by no other
    position = np.flatnonzero(inside)
    known = (codes[position] >= FIRST_KNOWN) & (codes[position + 1] >= FIRST_KNOWN)
    first, second = (codes[place[known]] - FIRST_KNOWN for place in (position, position + 1))
    pairs, often = np.unique(first * len(counts) + second, return_counts=True)
    bounds = np.searchsorted(pairs, np.arange(len(counts) + 1) * len(counts))

    def followers(last: int) -> tuple[np.ndarray, np.ndarray]:
        if last < 0:
            return pairs[:0], often[:0]
        own = slice(bounds[last], bounds[last + 1])
        return pairs[own] % len(counts), often[own]

    return _ranks(counts, questions, followers)


def _ranks(counts: np.ndarray, questions: Questions, followers: Followers) -> np.ndarray:
    """Ranks [N] by how often an item followed the input's last one, then by popularity, then by code; infinite where missed."""
    popularity = np.empty(len(counts), np.int64)  # the place in order of popularity, from 0
    popularity[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    ranks, targets = np.full(len(questions), np.inf), questions.targets
    last = questions.items[questions.starts + questions.lengths - 1] - FIRST_KNOWN
    for question in np.flatnonzero(targets >= 0):
        target, seen = targets[question], np.unique(questions.seen(question))
        if target in seen:
            continue
        places, often = followers(last[question])
        own = (_lookup(places, often, target[None])[0], popularity[target])
        before = _count_above(own, often, popularity[places])
        if not own[0]:  # and those more popular of which none followed either
            before += own[1] - np.count_nonzero(popularity[places] < own[1])
        ranks[question] = 1 + before - _count_above(own, _lookup(places, often, seen), popularity[seen])
    return ranks


def _count_above(own: tuple[int, int], often: np.ndarray, popularity: np.ndarray) -> int:
    """How many items, given by how often they followed and by their place in popularity, come before `own`."""
    return np.count_nonzero((often > own[0]) | ((often == own[0]) & (popularity < own[1])))


def _lookup(places: np.ndarray, often: np.ndarray, items: np.ndarray) -> np.ndarray:
    """How often each of `items` followed: int64, 0 for what is not in `places`."""
    if not len(places):
        return np.zeros(len(items), np.int64)
    index = np.minimum(np.searchsorted(places, items), len(places) - 1)
    return np.where(places[index] == items, often[index], 0)
