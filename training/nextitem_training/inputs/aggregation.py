"""How the embeddings of an interaction's features are joined: Transformers4Rec's ways.

They are its `concat`, `element-wise-sum` and `element-wise-sum-item-multi`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import nn

from nextitem_training.config.inputs import CONCAT, ITEM_MULTIPLIED_SUM, SUM
from nextitem_training.config.registry import Registry
from nextitem_training.errors import ConfigError


class Aggregation(Protocol):
    """Made of the parts' widths, the item's place among them and D; joins parts float32 [B, T, width] to [B, T, D]."""

    equal_widths: bool
    """Whether every part is of width D; otherwise all but the item are of `side_width`."""

    def __call__(self, widths: Sequence[int], item: int, d_model: int) -> nn.Module:
        """The module; its forward takes the parts in order."""
        ...


AGGREGATIONS: Registry[Aggregation] = Registry("aggregation of inputs")


@AGGREGATIONS.register(CONCAT)
class Concat(nn.Linear):
    """Side by side, then one projection."""

    equal_widths = False

    def __init__(self, widths: Sequence[int], item: int, d_model: int) -> None:
        super().__init__(sum(widths), d_model)

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """float32 [B, T, width] each → float32 [B, T, D]."""
        return super().forward(torch.cat([*parts], dim=-1))


@AGGREGATIONS.register(SUM)
class Sum(nn.Module):
    """All added up."""

    equal_widths = True

    def __init__(self, widths: Sequence[int], item: int, d_model: int) -> None:
        super().__init__()

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """float32 [B, T, D] each → float32 [B, T, D]."""
        return torch.stack([*parts]).sum(dim=0)


@AGGREGATIONS.register(ITEM_MULTIPLIED_SUM)
class ItemMultipliedSum(nn.Module):
    """The item's embedding times the sum of all others."""

    equal_widths = True

    def __init__(self, widths: Sequence[int], item: int, d_model: int) -> None:
        """Raises ConfigError where the item is alone."""
        super().__init__()
        if len(widths) < 2:
            raise ConfigError(
                f"[inputs] aggregation '{ITEM_MULTIPLIED_SUM}' multiplies the item's embedding with the sum of the other "
                f"features', and there is no other. Add features to [data], or choose '{CONCAT}' or '{SUM}'."
            )
        self.item = item

    def forward(self, parts: Sequence[torch.Tensor]) -> torch.Tensor:
        """float32 [B, T, D] each → float32 [B, T, D]."""
        others = [part for place, part in enumerate(parts) if place != self.item]
        return parts[self.item] * torch.stack(others).sum(dim=0)
