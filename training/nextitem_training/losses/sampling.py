"""Where a batch's negatives come from, and how likely each item was to be drawn."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from nextitem_training.config.loss import IN_BATCH, POPULARITY, UNIFORM
from nextitem_training.config.registry import Registry


class Sample(NamedTuple):
    """M negatives that all targets of a batch share. Draws are torch's."""

    items: torch.Tensor
    """int64 [M], drawn with replacement."""
    log_expected: torch.Tensor
    """float32 [N, M] or [1, M]: the log of how often the item is expected among the draws that count for a target."""


class Sampler(nn.Module):
    """Draws negatives."""

    def __init__(self, negatives: int, count: int) -> None:
        super().__init__()
        self.negatives = negatives
        self.count = count

    def take_counts(self, counts: np.ndarray) -> None:
        """Takes the items' counts in training, int64 [V - 3]."""

    def forward(self, targets: torch.Tensor) -> Sample:
        """Draws for targets int64 [N], N ≥ 1."""
        raise NotImplementedError


SAMPLERS: Registry[type[Sampler]] = Registry("way of sampling")


@SAMPLERS.register(UNIFORM)
class Uniform(Sampler):
    """Any item is as likely as any other."""

    def forward(self, targets: torch.Tensor) -> Sample:
        """As `Sampler.forward`."""
        items = torch.randint(self.count, (self.negatives,), device=targets.device)
        expected = torch.full((1, self.negatives), self.negatives / self.count, device=targets.device)
        return Sample(items, expected.log())


class _ByCount(Sampler):
    log_share: torch.Tensor

    def __init__(self, negatives: int, count: int) -> None:
        super().__init__(negatives, count)
        self.counted = False
        self.register_buffer("log_share", torch.full((count,), torch.nan), persistent=False)

    def take_counts(self, counts: np.ndarray) -> None:
        """The shares are those of the counts."""
        self.log_share.copy_(torch.from_numpy(np.log(counts / counts.sum()).astype(np.float32)))

    def _counted(self) -> torch.Tensor:
        """The log of each item's share: float32 [V - 3]."""
        if not self.counted:  # asked for once, as it stops a GPU; further processes get the buffers of the first
            self.counted = not torch.isnan(self.log_share).any()
        if not self.counted:
            raise RuntimeError("The loss does not know the items' counts; call take_counts before training.")
        return self.log_share


@SAMPLERS.register(POPULARITY)
class Popularity(_ByCount):
    """An item is drawn in proportion to its count in training."""

    cumulative: torch.Tensor

    def __init__(self, negatives: int, count: int) -> None:
        super().__init__(negatives, count)
        self.register_buffer("cumulative", torch.zeros(count, dtype=torch.float64), persistent=False)

    def take_counts(self, counts: np.ndarray) -> None:
        """The shares are those of the counts."""
        super().take_counts(counts)
        self.cumulative.copy_(torch.from_numpy(np.cumsum(counts) / counts.sum()))

    def forward(self, targets: torch.Tensor) -> Sample:
        """As `Sampler.forward`."""
        log_share = self._counted()
        # torch.multinomial takes no more than 2^24 categories.
        chance = torch.rand(self.negatives, dtype=torch.float64, device=targets.device)
        items = torch.searchsorted(self.cumulative, chance, right=True).clamp(max=self.count - 1)
        return Sample(items, (log_share[items] + float(np.log(self.negatives)))[None])


@SAMPLERS.register(IN_BATCH)
class InBatch(_ByCount):
    """The batch's other targets: by lot where they are more than asked for."""

    def forward(self, targets: torch.Tensor) -> Sample:
        """As `Sampler.forward`; a target is no draw for itself."""
        log_share = self._counted()
        total = len(targets)
        order = torch.randperm(total, device=targets.device)[: self.negatives]
        items = targets[order]
        itself = torch.zeros(total, 1, device=targets.device)
        itself[order] = 1
        draws = (len(order) - itself).clamp(min=1)
        return Sample(items, log_share[items][None] + draws.log())
