"""Random requests to the shop: all lengths, unknown and null values, ties in time, filters of every kind."""

from __future__ import annotations

import dataclasses
import random as chance

import numpy as np
import pandas as pd

from serving_tests.support.encoding import encode_sessions
from serving_tests.support.filtering import Filters
from serving_tests.support.made.shop import MAX_TOP_K, WINDOW

#: Ids that no training has seen, some like ids that it has.
UNKNOWN = ["neu 🛍", "A0", "a13", "A13 ", "日本語", "é", "e\u0301", "x" * 1024, "-", "0", "null"]
PRICES = np.array([0, -5, 1e6, -1e30], dtype=np.float32)
NULLABLE = ("item_id", "category", "colour", "country", "page", "price", "timestamp")
LONGEST = 5 * WINDOW


@dataclasses.dataclass(frozen=True)
class DrawnRequest:
    """One request: B sessions, what is wanted and the filters."""

    sessions: list[pd.DataFrame]
    top_k: int | None
    filters: Filters

    def tensors(self, features: list[dict[str, str]]) -> dict[str, np.ndarray]:
        """What is sent. features: as in the bundle's signature."""
        tensors = encode_sessions(features, self.sessions) | self.filters.tensors("")
        if self.top_k is not None:
            tensors["top_k"] = np.full((len(self.sessions), 1), self.top_k, dtype=np.int32)
        return tensors

    def barred(self, catalogue: np.ndarray) -> np.ndarray:
        """bool [B, V]."""
        return self.filters.barred(catalogue, [session.item_id.tolist() for session in self.sessions])


def draw_request(random: chance.Random, pool: pd.DataFrame) -> DrawnRequest:
    """One request; its interactions are the pool's in other company. The same `random`, the same request."""
    sessions = random.choice([1, 1, 1, 2, 3, 5, 17, 64])
    lengths = [random.choice([0, 1, 2, WINDOW, random.randint(0, LONGEST)]) for _ in range(sessions)]
    contents = np.random.default_rng(random.getrandbits(32))
    return DrawnRequest(
        _sessions(lengths, pool, contents),
        random.choice([None, 1, 20, random.randint(1, MAX_TOP_K), MAX_TOP_K]),
        Filters(
            excluded=_lists(random, sessions, pool, contents) if random.random() < 0.6 else None,
            allowed=_lists(random, sessions, pool, contents) if random.random() < 0.6 else None,
            seen=[random.random() < 0.5 for _ in range(sessions)] if random.random() < 0.6 else None,
        ),
    )


def _sessions(lengths: list[int], pool: pd.DataFrame, contents: np.random.Generator) -> list[pd.DataFrame]:
    rows = sum(lengths)
    frame = pool.iloc[contents.integers(len(pool), size=rows)].reset_index(drop=True)
    frame = frame.astype({name: "Int64" for name in frame if frame[name].dtype == np.int64})
    session = np.repeat(np.arange(len(lengths)), lengths)
    tied = (contents.random(len(lengths)) < 0.3)[session]
    first = (np.cumsum([0, *lengths])[:-1])[session]
    frame["timestamp"] = frame.timestamp.where(~tied, frame.timestamp.to_numpy()[first] if rows else frame.timestamp)
    cold = (contents.random(len(lengths)) < 0.1)[session]
    strange = contents.random(rows) < 0.1
    frame["item_id"] = frame.item_id.mask(cold | strange, pd.Series(contents.choice(UNKNOWN, rows), dtype=object))
    frame["country"] = frame.country.mask(contents.random(rows) < 0.1, 10**12)
    frame["price"] = frame.price.mask(contents.random(rows) < 0.1, contents.choice(PRICES, rows))
    frame["category"] = frame.category.mask(contents.random(rows) < 0.1, "weg 🚲")
    for name in NULLABLE:
        frame[name] = frame[name].mask(contents.random(rows) < 0.1)
    ends = np.cumsum(lengths)
    return [frame.iloc[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def _lists(random: chance.Random, sessions: int, pool: pd.DataFrame, contents: np.random.Generator) -> list[list]:
    """Ids of the catalogue, each perhaps twice, unknown ones and nulls; some rows hold nothing, or only what is unknown."""
    catalogue = pool.item_id.unique()
    lists = []
    for _ in range(sessions):
        size = random.choice([0, 0, 1, 3, 30, random.randint(0, len(catalogue)), 2 * len(catalogue)])
        known = contents.choice(catalogue, size).tolist()
        others = [None] * random.choice([0, 1, 4]) + random.choices(UNKNOWN, k=random.choice([0, 0, 2]))
        listed = [*known, *others]
        lists.append([listed[place] for place in contents.permutation(len(listed))])
    return lists
