"""Softmax over the target and sampled negatives, corrected by the log of how likely they were (logQ)."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nextitem_training.config import LossConfig
from nextitem_training.config.loss import SAMPLED_SOFTMAX
from nextitem_training.losses.item_loss import LOSSES, ItemLoss, Items
from nextitem_training.losses.sampling import SAMPLERS


@LOSSES.register(SAMPLED_SOFTMAX)
class SampledSoftmax(ItemLoss):
    """log(e^s + Σ e^(s_j - log E_j)) - s, with E_j how often item j is expected among the negatives.

    The sum estimates that over all other items without bias (importance sampling; Bengio and Senécal, 2008; for in-batch
    negatives Yi et al., 2019), and the loss approaches the full one with the number of negatives. The target is certain to be
    there, so that its own score is not corrected, and a negative that is the target counts nothing.
    """

    def __init__(self, config: LossConfig, count: int) -> None:
        super().__init__(config, count)
        self.sampler = SAMPLERS.get(config.sampling)(config.negatives, count)

    def take_counts(self, counts: np.ndarray) -> None:
        """Takes the items' counts in training, int64 [V - 3]."""
        self.sampler.take_counts(counts)

    def forward(self, queries: torch.Tensor, items: Items, targets: torch.Tensor) -> torch.Tensor:
        """As `ItemLoss.forward`."""
        if not len(targets):
            return queries.sum()  # 0, and a part of the graph
        sample = self.sampler(targets)
        own = (queries * items.rows(targets)).sum(dim=-1)  # (N,)
        others = queries @ items.rows(sample.items).T - sample.log_expected  # (N, M)
        others = others.masked_fill(sample.items[None, :] == targets[:, None], -torch.inf)
        logits = torch.cat([own[:, None], others], dim=1)
        return nn.functional.cross_entropy(logits, torch.zeros_like(targets), reduction="sum")
