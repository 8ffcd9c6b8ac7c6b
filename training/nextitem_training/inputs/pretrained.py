"""Vectors of items that were made elsewhere, from texts or pictures say, and their projection."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn


class PretrainedItems(nn.Module):
    """Rows float32 [V, P] by item code, zeros where there is no vector, and a projection without bias, which keeps zeros zero.

    The rows are part of the weights, frozen or not, so that a run directory needs no other file.
    """

    def __init__(self, count: int, width_in: int, width_out: int, *, frozen: bool) -> None:
        super().__init__()
        # No buffer where frozen: processes that train together would send it to each other in every step.
        self.vectors = nn.Parameter(torch.zeros(count, width_in), requires_grad=not frozen)
        self.projection = nn.Linear(width_in, width_out, bias=False)

    @torch.no_grad()
    def fill(self, vectors: np.ndarray) -> None:
        """Takes vectors float32 [V, P]."""
        self.vectors.copy_(torch.from_numpy(vectors))

    @torch.no_grad()
    def fill_from(self, first: int, vectors: np.ndarray) -> None:
        """Takes the rows from `first` on of vectors float32 [V, P], and leaves what was learnt of those before."""
        self.vectors[first:] = torch.from_numpy(vectors[first:])

    def forward(self, items: torch.Tensor) -> torch.Tensor:
        """Codes int64 [...] → float32 [..., width_out]."""
        return self.projection(nn.functional.embedding(items, self.vectors))

    def table(self) -> torch.Tensor:
        """All items: float32 [V, width_out]."""
        return self.projection(self.vectors)
