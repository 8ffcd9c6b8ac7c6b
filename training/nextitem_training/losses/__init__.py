"""Losses over items: each file registers one on its last line."""

from nextitem_training.losses import full, gbce, sampled_softmax
from nextitem_training.losses.registry import LOSSES, ItemLoss, Items

__all__ = ["LOSSES", "ItemLoss", "Items", "full", "gbce", "sampled_softmax"]
