"""Makes a catalogue of any size from trained vectors, so that the neighbourhoods stay what training made them."""

from __future__ import annotations

import numpy as np

#: Neighbours that a new item may lie towards, and its noise as a share of the distance to the one drawn.
NEIGHBOURS = 10
NOISE = 1.0


def scaled(items: np.ndarray, size: int, seed: int = 0) -> np.ndarray:
    """Float32 [size, D] of vectors of length 1, in random order: `items` [N, D] and, beyond them, items made of them.

    A new item lies between an item and one of its ten nearest neighbours, at a random share of the way, and then off the line,
    in all directions alike, by as much as these two are apart. Without that noise new items lie on lines, where any index finds
    them; with it a neighbourhood has as many dimensions as it had after training (`intrinsic_dimension`: 18.3 of Diginetica's
    items, 19.2 of 300 thousand made of them). In random order, since codes stand for frequency and say nothing of likeness.
    """
    random = np.random.default_rng(seed)
    if size <= len(items):
        return np.ascontiguousarray(items[random.permutation(len(items))[:size]])
    near = neighbours(items, NEIGHBOURS)
    table = np.empty((size, items.shape[1]), dtype=np.float32)
    table[: len(items)] = items
    for start in range(len(items), size, 262_144):
        end = min(start + 262_144, size)
        first = random.integers(len(items), size=end - start)
        towards = items[near[first, random.integers(NEIGHBOURS, size=end - start)]] - items[first]
        distance = np.linalg.norm(towards, axis=1, keepdims=True)
        noise = random.standard_normal(towards.shape, dtype=np.float32)
        noise *= NOISE * distance / np.linalg.norm(noise, axis=1, keepdims=True)
        table[start:end] = items[first] + random.random((end - start, 1), dtype=np.float32) * towards + noise
    table /= np.linalg.norm(table, axis=1, keepdims=True)
    random.shuffle(table)
    return table


def neighbours(items: np.ndarray, count: int, of: np.ndarray | None = None) -> np.ndarray:
    """The nearest of `items` [N, D], of length 1, to each of them or to the rows `of`; int64 [N, count], nearest first."""
    import faiss

    asked = items if of is None else items[of]
    _, found = faiss.knn(asked, items, count + 1, metric=faiss.METRIC_INNER_PRODUCT)
    return found[:, 1:]  # each is nearest to itself


def intrinsic_dimension(items: np.ndarray, count: int = 20, sample: int = 500) -> float:
    """In how many directions neighbours lie: the maximum likelihood estimate of Levina and Bickel (2004) over a sample."""
    rows = np.random.default_rng(1).permutation(len(items))[:sample]
    near = neighbours(items, count, rows)
    distance = np.sort(np.linalg.norm(items[near] - items[rows][:, None], axis=2), axis=1)
    logs = np.log(distance[:, -1:] / np.maximum(distance[:, :-1], 1e-12))
    return float(1 / np.mean(logs.mean(axis=1)))
