"""Numbers as mixtures of embeddings (soft one-hot encoding; Shi et al., 2020; Transformers4Rec's SoftEmbedding)."""

from __future__ import annotations

import torch
from torch import nn


class SoftOneHot(nn.Module):
    """A softmax of a projection of the value says how much of each embedding there is in it."""

    def __init__(self, count: int, width: int, initializer_range: float) -> None:
        super().__init__()
        self.projection = nn.Linear(1, count)
        self.table = nn.Parameter(torch.empty(count, width))
        nn.init.normal_(self.table, std=initializer_range)

    def forward(self, values: torch.Tensor) -> torch.Tensor:
        """float32 [B, T] → float32 [B, T, width]."""
        return self.projection(values[..., None]).softmax(dim=-1) @ self.table
