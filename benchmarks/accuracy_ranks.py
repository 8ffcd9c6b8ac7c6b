"""Ranks over the whole catalogue, and what they come to: recall@k, NDCG@k and MRR@k with one right item per question."""

from __future__ import annotations

import numpy as np
import torch

CUTOFFS = (10, 20)
METRICS = tuple(f"{name}{k}" for k in CUTOFFS for name in ("recall", "ndcg", "mrr"))


def ranks_of(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each target's rank, from 1; of equal scores the lower code comes first.

    Args:
        scores: float32 [B, V], -inf for what is not to be recommended.
        targets: int64 [B], columns of `scores`; below 0 where the catalogue lacks the item.

    Returns:
        float64 [B]; infinite where the item is lacking or not to be recommended, so that it counts as missed.
    """
    given = torch.from_numpy(scores)
    columns = torch.from_numpy(np.maximum(targets, 0))[:, None]
    own = given.gather(1, columns)  # (B, 1)
    better = (given > own).sum(1)
    ties = (given == own).sum(1)
    if (ties > 1).any():
        earlier = torch.arange(given.shape[1])[None, :] < columns
        better = better + ((given == own) & earlier).sum(1)
    missed = (targets < 0) | np.isneginf(own.numpy()[:, 0])
    return np.where(missed, np.inf, 1.0 + better.numpy())


def metrics_of(ranks: np.ndarray) -> dict[str, float]:
    """METRICS of ranks [N] from 1, infinite where missed: shares and means over all questions."""
    found = {}
    for k in CUTOFFS:
        hit = ranks <= k
        found[f"recall{k}"] = float(hit.mean())
        found[f"ndcg{k}"] = float(np.where(hit, 1 / np.log2(1 + ranks), 0.0).mean())
        found[f"mrr{k}"] = float(np.where(hit, 1 / ranks, 0.0).mean())
    return found
