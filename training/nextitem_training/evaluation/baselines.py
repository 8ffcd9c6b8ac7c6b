"""The baselines that a model has to beat: popularity, and co-occurrence of consecutive items in training.

Neither needs scores of the whole catalogue: the rank is the number of items that come before the target, plus 1.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.evaluation import Questions
from nextitem_training.special_ids import FIRST_KNOWN

Followers = Callable[[int], tuple[np.ndarray, np.ndarray]]
"""An item's index, below 0 for an unknown item → indices of the items that followed it, ascending, and how often each did,
above 0: int64 [F] both. An index is a code less FIRST_KNOWN."""

MODEL, CO_OCCURRENCE, POPULARITY = "model", "co-occurrence", "popularity"
"""The rankers' names in metrics.json."""


def popularity_ranks(counts: np.ndarray, questions: Questions) -> np.ndarray:
    """Ranks float64 [N] by how often an item occurs in training.

    Args:
        counts: int64 [V - 3], how often each item occurs in training.
        questions: the sessions and their targets.
    """
    nothing = np.empty(0, np.int64)
    return _ranks(counts, questions, lambda last: (nothing, nothing))


def cooccurrence_ranks(
    training: EncodedSessions, item_feature: str, counts: np.ndarray, questions: Questions
) -> np.ndarray:
    """Ranks float64 [N] by how often an item followed the input's last item in training; popularity breaks ties.

    Args:
        training: whole training sessions.
        item_feature: the feature that holds the item codes.
        counts: int64 [V - 3], how often each item occurs in training.
        questions: the sessions and their targets.
    """
    codes = training.features[item_feature]
    inside = np.ones(len(codes), dtype=bool)
    inside[training.offsets[1:] - 1] = False  # nothing follows a session's last item
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


def baseline_warning(metrics: Mapping[str, Mapping[str, float]], metric: str) -> str | None:
    """A sentence if the model does not beat all baselines, otherwise None.

    Args:
        metrics: by ranker, MODEL among them, then by metric.
        metric: the one to compare, such as `recall@20`.
    """
    own = metrics[MODEL][metric]
    # A value of 1 cannot be exceeded, as recall@20 with fewer than 20 items.
    better = {name: of[metric] for name, of in metrics.items() if name != MODEL and own <= of[metric] and own < 1}
    if not better:
        return None
    baselines = " or ".join(f"{name} ({value:.4f})" for name, value in better.items())
    return f"The model does not beat {baselines}: its {metric} is {own:.4f}. See docs/choosing.md for what to change."


def _ranks(counts: np.ndarray, questions: Questions, followers: Followers) -> np.ndarray:
    """Ranks [N] by how often an item followed the input's last one, then by popularity, then by code.

    Infinite for a target that is unknown or, with `exclude_seen`, in the input.
    """
    popularity = np.empty(len(counts), np.int64)  # the position in order of popularity, from 0
    popularity[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    ranks, targets = np.full(len(questions), np.inf), questions.targets
    last = questions.items[questions.starts + questions.lengths - 1] - FIRST_KNOWN
    for question in np.flatnonzero(targets >= 0):
        target, seen = targets[question], np.unique(questions.seen(question))
        if target in seen:
            continue
        places, often = followers(last[question])
        own = (int(_lookup(places, often, target[None])[0]), int(popularity[target]))
        before = _count_above(own, often, popularity[places])
        if not own[0]:  # and the more popular items that did not follow either
            before += own[1] - np.count_nonzero(popularity[places] < own[1])
        ranks[question] = 1 + before - _count_above(own, _lookup(places, often, seen), popularity[seen])
    return ranks


def _count_above(own: tuple[int, int], often: np.ndarray, popularity: np.ndarray) -> int:
    """How many items, given how often they followed and their position in popularity, come before `own`."""
    return np.count_nonzero((often > own[0]) | ((often == own[0]) & (popularity < own[1])))


def _lookup(places: np.ndarray, often: np.ndarray, items: np.ndarray) -> np.ndarray:
    """How often each of `items` followed: int64, 0 for items that are not in `places`."""
    if not len(places):
        return np.zeros(len(items), np.int64)
    index = np.minimum(np.searchsorted(places, items), len(places) - 1)
    return np.where(places[index] == items, often[index], 0)
