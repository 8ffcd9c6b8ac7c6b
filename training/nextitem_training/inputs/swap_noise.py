"""Stochastic swap noise (Transformers4Rec's StochasticSwapNoise): values that are real, and of another interaction."""

from __future__ import annotations

from collections.abc import Mapping

import torch


@torch.no_grad()
def swap(features: Mapping[str, torch.Tensor], real: torch.Tensor, share: float) -> dict[str, torch.Tensor]:
    """Replaces a share of each feature's values by those of other real steps of the batch, drawn for each feature apart.

    The draws are torch's. A batch of one real step is left as it is.

    Args:
        features: [B, T] by name.
        real: bool [B, T]; padded steps neither give nor take.
        share: from 0 to below 1.
    """
    return {name: _swapped(values, real, share) for name, values in features.items()}


def _swapped(values: torch.Tensor, real: torch.Tensor, share: float) -> torch.Tensor:
    pool = values[real]  # (N,)
    count = len(pool)
    if count < 2:
        return values
    chance = torch.rand(count, device=pool.device)
    # From 1 to N - 1 steps further on: any but itself.
    further = torch.randint(1, count, (count,), device=pool.device)
    source = (torch.arange(count, device=pool.device) + further) % count
    result = values.clone()
    result[real] = torch.where(chance < share, pool[source], pool)
    return result
