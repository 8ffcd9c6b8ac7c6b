"""What needs no training: popularity, and the items whose content is nearest to what was clicked."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd

from benchmarks.cold_items.shops import ITEM, TEXT, Shop

Scorer = Callable[[pd.DataFrame], np.ndarray]

#: How much less an interaction counts than the one after it.
_DECAY = 0.7


def popularity(shop: Shop, training: pd.DataFrame) -> Scorer:
    """How often an item was clicked in training, which is never for what was hidden."""
    counts = training[ITEM].value_counts().reindex(shop.items[ITEM]).fillna(0).to_numpy()
    return lambda _: counts


def nearest_content(shop: Shop) -> Scorer:
    """Cosines between an item's content and the mean content of the session, the newest clicks first; clicked items last."""
    content = _content(shop.items)
    place_of = {item: place for place, item in enumerate(shop.items[ITEM])}

    def scores(session: pd.DataFrame) -> np.ndarray:
        places = [place_of[item] for item in session[ITEM] if item in place_of]
        if not places:
            return np.zeros(len(content))
        weights = _DECAY ** np.arange(len(places))[::-1]
        found = content @ (weights @ content[places])
        found[places[-1]] = -np.inf
        return found

    return scores


def _content(items: pd.DataFrame) -> np.ndarray:
    """float [V, …] of length 1: a column for each value, numbers standardised, text vectors as they are."""
    parts: list[np.ndarray] = []
    for name in items.columns.drop(ITEM):
        if name == TEXT:
            vectors = np.stack(items[name].to_list()).astype(np.float64)
            parts.append(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
        elif items[name].dtype.kind == "f":
            values = np.log1p(items[name].to_numpy(np.float64))
            parts.append(((values - values.mean()) / (values.std() or 1.0))[:, None] / 2)
        else:
            codes, values = pd.factorize(items[name])
            parts.append(np.eye(len(values))[codes])
    joined = np.concatenate(parts, axis=1)
    return joined / np.maximum(np.linalg.norm(joined, axis=1, keepdims=True), 1e-9)
