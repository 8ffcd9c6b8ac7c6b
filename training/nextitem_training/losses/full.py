"""Cross-entropy over the whole catalogue."""

from __future__ import annotations

import torch
from torch import nn

from nextitem_training.config import LossConfig
from nextitem_training.config.loss import FULL
from nextitem_training.losses.registry import LOSSES, ItemLoss, Items


def linear_cross_entropy(
    queries: torch.Tensor, table: torch.Tensor, targets: torch.Tensor, label_smoothing: float = 0.0
) -> torch.Tensor:
    """float32 [N, D], float32 [V, D], int64 [N] → the sum over N, a scalar."""
    logits = queries @ table.T
    return nn.functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=label_smoothing)


class FullSoftmax(ItemLoss):
    """The log of the target's share in the softmax over all items."""

    def __init__(self, config: LossConfig, count: int) -> None:
        super().__init__(config, count)
        self.label_smoothing = config.label_smoothing

    def forward(self, queries: torch.Tensor, items: Items, targets: torch.Tensor) -> torch.Tensor:
        """As `ItemLoss.forward`."""
        return linear_cross_entropy(queries, items.table(), targets, self.label_smoothing)


LOSSES.register(FULL, FullSoftmax)
