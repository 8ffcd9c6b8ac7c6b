"""Ranks over the whole catalogue, and what they come to: recall@k, NDCG@k and MRR@k with one right item per question."""

from __future__ import annotations

import numpy as np

CUTOFFS = (10, 20)
METRICS = tuple(f"{name}{k}" for k in CUTOFFS for name in ("recall", "ndcg", "mrr"))


def ranks_of(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each target's rank, from 1; of equal scores the lower code comes first.

    Args:
        scores: float32 [B, V], -inf for what is not to be recommended.
        targets: int64 [B], columns of `scores`; below 0 where the catalogue lacks the item.

    Returns:
        float64 [B]; infinite where the item is lacking, not to be recommended or its score NaN, so that it counts as missed.
        Another item's NaN counts as a better score.
    """
    ranks = np.full(len(targets), np.inf)
    # Row by row: the scores of one question stay in the processor's cache, those of a batch do not.
    for place, (row, target) in enumerate(zip(scores, targets.tolist(), strict=True)):
        if target >= 0 and row[target] > -np.inf:
            own = row[target]
            ranks[place] = 1 + len(row) - np.count_nonzero(row <= own) + np.count_nonzero(row[:target] == own)
    return ranks


def metrics_of(ranks: np.ndarray) -> dict[str, float]:
    """METRICS of ranks [N] from 1, infinite where missed: shares and means over all questions."""
    found = {}
    for k in CUTOFFS:
        hit = ranks <= k
        found[f"recall{k}"] = float(hit.mean())
        found[f"ndcg{k}"] = float(np.where(hit, 1 / np.log2(1 + ranks), 0.0).mean())
        found[f"mrr{k}"] = float(np.where(hit, 1 / ranks, 0.0).mean())
    return found
