"""V-SkNN: items of the training sessions that are most like the input, which no benchmark of session models can do without.

Ludewig and Jannach, "Evaluation of session-based recommendation algorithms" (User Modeling and User-Adapted Interaction 28,
2018), with the options of their program (github.com/rn5l/session-rec). Different here: of equally like sessions the more recent
one is taken, where theirs leaves it to chance; linear weights end at 0 after ten clicks, where theirs turn negative or leave
out the newest clicks; and items that no neighbour has follow the others, by popularity.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.accuracy.baselines import Catalogue
from benchmarks.accuracy.sessions import SESSION

SIMILARITIES = ("vec", "cosine")

Weights = Callable[[np.ndarray, int], np.ndarray]
#: (place of a click in the input from 1, length of the input) → its weight in the similarity of two sessions.
WEIGHTINGS: dict[str, Weights] = {
    "same": lambda place, length: np.ones(len(place)),
    "div": lambda place, length: place / length,
    "linear": lambda place, length: np.maximum(1 - 0.1 * (length - place), 0),
    "log": lambda place, length: 1 / np.log10(length - place + 1.7),
    "quadratic": lambda place, length: (place / length) ** 2,
}
#: How many clicks ago, from 1, the newest click was that a neighbour has → the weight of the neighbour's items.
SCORE_WEIGHTINGS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "same": lambda steps: np.ones(len(steps)),
    "div": lambda steps: 1 / steps,
    "linear": lambda steps: np.maximum(1 - 0.1 * steps, 0),
    "log": lambda steps: 1 / np.log10(steps + 1.7),
    "quadratic": lambda steps: 1 / steps**2,
}


@dataclass(frozen=True)
class Setting:
    """One choice of V-SkNN's options, named as its authors name them."""

    sample_size: int = 1000
    """Of the sessions that share an item with the input the most recent ones, among which neighbours are looked for."""
    k: int = 100
    """Neighbours."""
    similarity: str = "vec"
    """`vec`: the summed weights of the input's clicks that a session has; `cosine`: over the root of its number of items."""
    weighting: str = "div"
    """Of WEIGHTINGS."""
    weighting_score: str = "div"
    """Of SCORE_WEIGHTINGS."""
    idf_weighting: float = 0.0
    """How much more rare items count: a score is multiplied by 1 + idf_weighting * log(sessions / occurrences of the item)."""


class VSkNN:
    """The training sessions as sets of items, and which sessions have an item."""

    def __init__(self, training: pd.DataFrame, catalogue: Catalogue) -> None:
        """training: rows of whole sessions, the oldest session first."""
        number = pd.factorize(training[SESSION])[0].astype(np.int64)
        count, self.items = int(number[-1]) + 1, len(catalogue.ids)
        pairs = np.unique(number * self.items + catalogue.codes(training))
        session, item = pairs // self.items, pairs % self.items
        self._item = item
        self._items_at = np.searchsorted(session, np.arange(count + 1))
        order = np.argsort(item, kind="stable")
        self._session = session[order]
        self._sessions_at = np.searchsorted(item[order], np.arange(self.items + 1))
        self._idf = np.log(count / catalogue.counts)
        self._similarity = np.zeros(count)  # all 0 between calls
        self._place = np.zeros(self.items, dtype=np.int64)  # all 0 between calls

    def scorer(self, setting: Setting) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
        """Scores [B, V] of inputs, see `accuracy_baselines.Scorer`; 0 for what no neighbour has."""
        return lambda inputs: np.stack([self.scores(codes, setting) for codes in inputs])

    def scores(self, codes: np.ndarray, setting: Setting) -> np.ndarray:
        """float64 [V] for the input's codes int64 [T], the newest last, -1 for an unknown item."""
        places = np.arange(1, len(codes) + 1)
        known = codes >= 0
        self._place[codes[known]] = places[known]  # of the same item's clicks the newest stays
        clicked = np.unique(codes[known])
        if not len(clicked):
            return np.zeros(self.items)
        weights = WEIGHTINGS[setting.weighting](self._place[clicked], len(codes))
        neighbours, similarity = self._neighbours(clicked, weights, setting)
        firsts, ends = self._items_at[neighbours], self._items_at[neighbours + 1]
        lengths = ends - firsts
        offsets = np.cumsum(lengths) - lengths
        theirs = self._item[np.arange(lengths.sum()) + np.repeat(firsts - offsets, lengths)]
        newest = np.maximum.reduceat(self._place[theirs], offsets) if len(neighbours) else offsets
        self._place[clicked] = 0
        decay = SCORE_WEIGHTINGS[setting.weighting_score](len(codes) - newest + 1)
        scores = np.bincount(theirs, np.repeat(similarity * decay, lengths), minlength=self.items)
        return scores * (1 + setting.idf_weighting * self._idf) if setting.idf_weighting else scores

    def _neighbours(self, clicked: np.ndarray, weights: np.ndarray, setting: Setting) -> tuple[np.ndarray, np.ndarray]:
        """The sessions most like the input, int64 [N], and how like they are, float64 [N] above 0."""
        found = []
        for item, weight in zip(clicked, weights, strict=True):
            # No session that is older than so many of one item's can be among so many of all items'.
            sessions = self._session[self._sessions_at[item] : self._sessions_at[item + 1]][-setting.sample_size :]
            self._similarity[sessions] += weight
            found.append(sessions)
        touched = np.concatenate(found)
        candidates = (np.unique(touched) if len(found) > 1 else touched)[-setting.sample_size :][::-1]
        similarity = self._similarity[candidates]
        self._similarity[touched] = 0
        if setting.similarity == "cosine":
            similarity = similarity / np.sqrt(self._items_at[candidates + 1] - self._items_at[candidates])
        # Rounded, so that rounding errors of the sums do not decide between equals.
        order = np.argsort(-np.round(similarity, 9), kind="stable")[: setting.k]
        order = order[similarity[order] > 0]
        return candidates[order], similarity[order]
