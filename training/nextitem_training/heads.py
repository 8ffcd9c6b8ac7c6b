"""Prediction heads: what is predicted beside the next item, read from the body's hidden state.

A head predicts a column's value at the interaction that is predicted, so that in training it sees what the item's own loss
sees, and at inference speaks of the next interaction.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from nextitem_training.config.heads import BINARY, REGRESSION, WIDTH, HeadConfig
from nextitem_training.config.registry import Registry


class PredictionHead(nn.Module):
    """A linear layer, or two with GELU between them, from width D to one number.

    Attributes:
        name: of the output; column: the target; weight: of its loss.
    """

    def __init__(self, config: HeadConfig, d_model: int) -> None:
        super().__init__()
        self.name = config.name
        self.column = config.column
        self.weight = config.weight
        self.output = nn.Linear(config.hidden or d_model, WIDTH)
        self.layer = nn.Sequential(nn.Linear(d_model, config.hidden), nn.GELU()) if config.hidden else nn.Identity()

    def raw(self, hidden: torch.Tensor) -> torch.Tensor:
        """What is learned: float32 [..., D] → float32 [..., 1]."""
        return self.output(self.layer(hidden))

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """The prediction as a caller gets it: float32 [B, D] → float32 [B, 1]."""
        raise NotImplementedError

    def errors(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Losses float32 [N] of float32 [N, D] against targets float32 [N], none of which is null."""
        raise NotImplementedError

    def take_statistics(self, targets: np.ndarray) -> None:
        """Takes what it needs of all targets of training, float32 [number of interactions], null where NaN."""

    def loss(self, hidden: torch.Tensor, targets: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """The mean over targets that are not null, a scalar; 0 where there are none.

        Args:
            hidden: float32 [B, S, D].
            targets: float32 [B, S]; NaN is null.
            asked: bool [B, S]: the steps that predict an interaction.
        """
        valid = asked & ~torch.isnan(targets)
        return self.errors(hidden[valid], targets[valid]).sum() / valid.sum().clamp(min=1)


HEADS: Registry[type[PredictionHead]] = Registry("kind of head")


@HEADS.register(BINARY)
class BinaryHead(PredictionHead):
    """The probability that the column is 1; binary cross-entropy."""

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [B, D] → float32 [B, 1], from 0 to 1."""
        return torch.sigmoid(self.raw(hidden))

    def errors(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Binary cross-entropy: float32 [N]."""
        logits = self.raw(hidden).squeeze(-1)
        return nn.functional.binary_cross_entropy_with_logits(logits, targets, reduction="none")


@HEADS.register(REGRESSION)
class RegressionHead(PredictionHead):
    """The column's value; squared error of values that are standardised by their mean and deviation in training."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, config: HeadConfig, d_model: int) -> None:
        super().__init__(config, d_model)
        self.register_buffer("mean", torch.zeros(()))
        self.register_buffer("std", torch.ones(()))

    def predict(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [B, D] → float32 [B, 1], in the column's own unit."""
        return self.raw(hidden) * self.std + self.mean

    def errors(self, hidden: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        """Squared errors in deviations: float32 [N]."""
        return (self.raw(hidden).squeeze(-1) - (targets - self.mean) / self.std).square()

    def take_statistics(self, targets: np.ndarray) -> None:
        """Takes mean and standard deviation; the latter is 1 where it is too small for float32, as of one value."""
        values = targets[~np.isnan(targets)].astype(np.float64)
        self.mean.fill_(float(values.mean()))
        std, float32 = float(values.std()), np.finfo(np.float32)
        self.std.fill_(std if std > max(float32.tiny, float32.eps * abs(values.mean())) else 1.0)
