"""What a pre-training approach is and which there are.

n is the number of a session's real steps, those whose item code is not PADDING.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from nextitem_training.config import ModelConfig
from nextitem_training.registry import Registry


class Targets(NamedTuple):
    """What the body reads in training and what it has to predict."""

    inputs_embeds: torch.Tensor
    """float32 [B, S, D]."""
    mask: torch.Tensor
    """bool [B, S], True where a step is real."""
    items: torch.Tensor
    """int64 [B, S]: the item code to predict from each step; PADDING where there is none."""


class Prediction(NamedTuple):
    """What the body reads at inference and where the query is found."""

    inputs_embeds: torch.Tensor
    """float32 [B, S, D]."""
    mask: torch.Tensor
    """bool [B, S]."""
    position: torch.Tensor
    """int64 [B]: the step whose hidden state is the query."""


class Approach(nn.Module):
    """Hides whole interactions, side features too, and says what is predicted from where."""

    causal: bool
    """Whether the body may look at later steps."""
    extra_steps: int
    """Steps that inference adds to the session."""

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.placeholder = nn.Parameter(torch.empty(config.d_model))
        nn.init.normal_(self.placeholder, std=config.initializer_range)

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Makes a training batch of embedded float32 [B, S, D] and items int64 [B, S]."""
        raise NotImplementedError

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """Makes an inference batch of embedded float32 [B, T, D] and items int64 [B, T]."""
        raise NotImplementedError


APPROACHES: Registry[type[Approach]] = Registry("pre-training approach")
