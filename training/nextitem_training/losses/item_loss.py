"""What a loss over items is and which there are."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from nextitem_training.config import LossConfig
from nextitem_training.config.registry import Registry


class Items(NamedTuple):
    """The known items as vectors, all of them or some: a sampled loss never makes all."""

    table: Callable[[], torch.Tensor]
    """→ float32 [V - 3, D]; row 0 is the item of code 3."""
    rows: Callable[[torch.Tensor], torch.Tensor]
    """int64 [...] → float32 [..., D]."""


class ItemLoss(nn.Module):
    """Makes the target likely among the items. It has no weights, and nothing of it is saved."""

    def __init__(self, config: LossConfig, count: int) -> None:
        """count: of the known items, V - 3. Raises ConfigError where they are too few."""
        super().__init__()

    def take_counts(self, counts: np.ndarray) -> None:
        """Takes the items' counts in training, int64 [V - 3]."""

    def forward(self, queries: torch.Tensor, items: Items, targets: torch.Tensor) -> torch.Tensor:
        """The sum over N targets, a scalar; 0 where there are none.

        Args:
            queries: float32 [N, D]; a score is their product with an item's vector.
            items: of the same D.
            targets: int64 [N], from 0 to V - 4.
        """
        raise NotImplementedError


LOSSES: Registry[type[ItemLoss]] = Registry("loss over items", __package__)
