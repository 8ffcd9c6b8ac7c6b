"""What every model has to beat: popularity, and what followed an item in training.

Both rank without scores of the whole catalogue: they count the items that come before the target.
"""

from __future__ import annotations

import numpy as np

from nextitem_training.codes import FIRST_KNOWN
from nextitem_training.evaluation import Questions
from nextitem_training.sessions import EncodedSessions


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


def _ranks(counts: np.ndarray, questions: Questions, followers) -> np.ndarray:
    """Ranks [N] by what `followers` of the last item says, then by popularity, then by code; infinite where missed.

    followers: an item's place → places, rising, and how often each followed, above 0; both int64 [F].
    """
    popularity = np.empty(len(counts), np.int64)  # the place in order of popularity, from 0
    popularity[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    ranks, targets = np.full(len(questions), np.inf), questions.targets
    last = questions.items[questions.starts + questions.lengths - 1] - FIRST_KNOWN
    for question in np.flatnonzero(targets >= 0):
        target, seen = targets[question], np.unique(questions.seen(question))
        if target in seen:
            continue
        places, often = followers(last[question])
        target_often = _lookup(places, often, target[None])[0]

        def above(items: np.ndarray, items_often: np.ndarray) -> int:
            more = items_often > target_often
            return np.count_nonzero(more | ((items_often == target_often) & (popularity[items] < popularity[target])))

        before = above(places, often)
        if not target_often:  # and those of which none followed either
            before += popularity[target] - np.count_nonzero(popularity[places] < popularity[target])
        ranks[question] = 1 + before - above(seen, _lookup(places, often, seen))
    return ranks


def _lookup(places: np.ndarray, often: np.ndarray, items: np.ndarray) -> np.ndarray:
    """How often each of `items` followed: int64, 0 for what is not in `places`."""
    if not len(places):
        return np.zeros(len(items), np.int64)
    index = np.minimum(np.searchsorted(places, items), len(places) - 1)
    return np.where(places[index] == items, often[index], 0)
