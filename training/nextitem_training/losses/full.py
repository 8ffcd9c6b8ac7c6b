"""Cross-entropy over the whole catalogue."""

from __future__ import annotations

import torch

from nextitem_training.config import LossConfig
from nextitem_training.config.loss import FULL
from nextitem_training.losses.item_loss import LOSSES, ItemLoss, Items
from nextitem_training.losses.linear_cross_entropy import linear_cross_entropy


@LOSSES.register(FULL)
class FullSoftmax(ItemLoss):
    """The log of the target's share in the softmax over all items."""

    def __init__(self, config: LossConfig, count: int) -> None:
        super().__init__(config, count)
        self.label_smoothing = config.label_smoothing

    def forward(self, queries: torch.Tensor, items: Items, targets: torch.Tensor) -> torch.Tensor:
        """As `ItemLoss.forward`."""
        return linear_cross_entropy(queries, items.table(), targets, self.label_smoothing)
