"""Losses over items: a file for each, which registers itself."""

from nextitem_training.losses.item_loss import LOSSES, ItemLoss, Items

__all__ = ["LOSSES", "ItemLoss", "Items"]
