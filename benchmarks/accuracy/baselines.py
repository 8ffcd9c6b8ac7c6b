"""What every model has to beat: popularity and co-occurrence; and how any baseline is asked the questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from rich.progress import track

from benchmarks.accuracy.model import hide
from benchmarks.accuracy.ranks import ranks_of
from benchmarks.accuracy.sessions import ITEM, SESSION, Questions

Scorer = Callable[[Sequence[np.ndarray]], np.ndarray]
"""Inputs, each the codes int64 [T] of its interactions, -1 for an unknown item → float [B, V], higher is better."""

_BATCH = 8


@dataclass(frozen=True)
class Catalogue:
    """The items of the training interactions, the most frequent first and those of one frequency by id: that is their code."""

    ids: pd.Index
    """[V]."""
    counts: np.ndarray
    """int64 [V]."""

    @classmethod
    def of(cls, training: pd.DataFrame) -> Catalogue:
        """Reads it off the training interactions."""
        counts = training[ITEM].value_counts().sort_index().sort_values(ascending=False, kind="stable")
        return cls(counts.index, counts.to_numpy())

    def codes(self, rows: pd.DataFrame) -> np.ndarray:
        """int64 [N], -1 for an unknown item."""
        return self.ids.get_indexer(rows[ITEM])


def baseline_ranks(scorer: Scorer, questions: Questions, catalogue: Catalogue, told: str) -> np.ndarray:
    """The rank of each answer [E], from 1; infinite where training lacks the item. `told` names it beside the progress bar."""
    items, targets = catalogue.codes(questions.rows), catalogue.ids.get_indexer(questions.targets)
    ranks = np.empty(len(questions))
    for start in track(range(0, len(questions), _BATCH), description=told):
        batch = slice(start, start + _BATCH)
        starts, lengths = questions.starts[batch], questions.lengths[batch]
        scores = scorer([items[first : first + length] for first, length in zip(starts, lengths, strict=True)])
        if questions.hides_seen:
            hide(scores, items, starts, lengths)
        ranks[batch] = ranks_of(scores, targets[batch])
    return ranks


def popularity(catalogue: Catalogue) -> Scorer:
    """The same answer for all: how often an item occurs in training."""
    return lambda inputs: np.tile(catalogue.counts.astype(np.float64), (len(inputs), 1))


def cooccurrence(training: pd.DataFrame, catalogue: Catalogue) -> Scorer:
    """How often an item followed the input's last one in training; popularity breaks ties."""
    codes, session = catalogue.codes(training), training[SESSION].to_numpy()
    first = np.flatnonzero(session[:-1] == session[1:])
    order = np.argsort(codes[first], kind="stable")
    before, after = codes[first][order], codes[first + 1][order]
    bounds = np.searchsorted(before, np.arange(len(catalogue.ids) + 1))
    share = catalogue.counts / (catalogue.counts.sum() + 1)  # below 1, the least difference of two pair counts

    def score(inputs: Sequence[np.ndarray]) -> np.ndarray:
        scores = np.tile(share, (len(inputs), 1))
        for row, codes in enumerate(inputs):
            if codes[-1] >= 0:
                followers = after[bounds[codes[-1]] : bounds[codes[-1] + 1]]
                scores[row] += np.bincount(followers, minlength=len(share))
        return scores

    return score
