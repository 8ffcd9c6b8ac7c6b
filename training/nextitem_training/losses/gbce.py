"""Generalised binary cross-entropy (gBCE; gSASRec; Petrov and Macdonald, 2023)."""

from __future__ import annotations

import torch
from torch import nn

from nextitem_training.config import LossConfig
from nextitem_training.config.loss import GBCE
from nextitem_training.errors import ConfigError
from nextitem_training.losses.item_loss import LOSSES, ItemLoss, Items


@LOSSES.register(GBCE)
class GeneralisedBinaryCrossEntropy(ItemLoss):
    """-(β log σ(s) + Σ log(1 - σ(s_j))) / (k + 1) over k negatives, drawn uniformly from all other items for each target.

    With the sampling rate α = k / (V - 4), β = α (t (1 - 1/α) + 1/α) (equation 20 of the paper): t = 0 is binary cross-entropy,
    t = 1 makes up for the whole overconfidence that sampled negatives cause.
    """

    def __init__(self, config: LossConfig, count: int) -> None:
        super().__init__(config, count)
        if count < 2:
            raise ConfigError(
                f"[loss] kind '{GBCE}' needs an item beside the target, and the catalogue has {count}; choose kind = 'full'."
            )
        self.others = count - 1
        self.negatives = min(config.negatives, self.others)
        rate = self.negatives / self.others
        self.beta = rate * (config.calibration * (1 - 1 / rate) + 1 / rate)

    def forward(self, queries: torch.Tensor, items: Items, targets: torch.Tensor) -> torch.Tensor:
        """As `ItemLoss.forward`."""
        drawn = torch.randint(self.others, (len(targets), self.negatives), device=targets.device)
        drawn = drawn + (drawn >= targets[:, None])  # any but the target
        own = (queries * items.rows(targets)).sum(dim=-1)  # (N,)
        others = (items.rows(drawn) @ queries[..., None]).squeeze(-1)  # (N, k)
        losses = nn.functional.softplus(-own) * self.beta + nn.functional.softplus(others).sum(dim=-1)
        return losses.sum() / (self.negatives + 1)
