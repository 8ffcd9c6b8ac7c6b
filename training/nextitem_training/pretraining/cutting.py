"""What is hidden in training: the last item of sessions cut at random, as inference asks, or any."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import nn

from nextitem_training.special_ids import PADDING

FURTHER_SHARE = 0.5
"""Share of a training batch's sessions in which more than the last item is predicted."""


class Cut(NamedTuple):
    """Sessions that end at a step drawn by lot."""

    mask: torch.Tensor
    """bool [B, S]: the steps that are left."""
    last: torch.Tensor
    """bool [B, S]: the last of them."""
    further: torch.Tensor
    """bool [B]: whether further items of the session are to be predicted."""


def cut(items: torch.Tensor) -> Cut:
    """Ends each session of items int64 [B, S] at random, so that every position has its turn as the last.

    A session of one item is left as it is; it has nothing to predict that item from.
    """
    real = items != PADDING
    length = real.sum(dim=1, keepdim=True)  # (B, 1)
    steps = torch.arange(items.shape[1], device=items.device)[None, :]
    chance = torch.rand(items.shape[0], 2, device=items.device)
    last = (1 + chance[:, :1] * (length - 1)).long()
    last = torch.minimum(last, (length - 1).clamp(min=0))  # (B, 1)
    return Cut(real & (steps <= last), real & (steps == last), chance[:, 1] < FURTHER_SHARE)


def scatter(items: torch.Tensor, share: float) -> torch.Tensor:
    """Draws from each session of items int64 [B, S] the given share of its items: bool [B, S].

    Of two items or more, one at least is drawn and one is left.
    """
    real = items != PADDING
    length = real.sum(dim=1, keepdim=True)  # (B, 1)
    steps = torch.arange(items.shape[1], device=items.device)[None, :]
    chance = torch.rand(2, items.shape[0], 1, device=items.device)
    drawn = (chance[0] * length).long()
    left = (drawn + 1 + (chance[1] * (length - 1)).long()) % length.clamp(min=1)
    any_ = torch.rand(items.shape, device=items.device) < share
    return real & (any_ | (steps == drawn)) & ((steps != left) | (length < 2))


def embed_further_step(embedded: torch.Tensor) -> torch.Tensor:
    """Appends a step of zeros: float32 [B, T, D] → [B, T + 1, D]."""
    return nn.functional.pad(embedded, (0, 0, 0, 1))
