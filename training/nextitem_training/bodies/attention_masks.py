"""Attention masks that bodies hand to libraries in the libraries' own forms."""

from __future__ import annotations

import torch


def without_padding(inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Zeros in padded steps: hidden from attention, what is infinite or too large still spoils sums.

    Args:
        inputs_embeds: float32 [B, S, D].
        mask: bool [B, S], True where a step is real.
    """
    return torch.where(mask[..., None], inputs_embeds, torch.zeros_like(inputs_embeds))


def visible_steps(mask: torch.Tensor, causal: bool) -> torch.Tensor:
    """Says which step may look at which.

    Args:
        mask: bool [B, S], True where a step is real.
        causal: hide later steps.

    Returns:
        bool [B, S, S]; entry [b, i, j] is True where step i sees step j. Every step sees itself,
        so that a padded one has something to attend to and stays finite.
    """
    steps = torch.arange(mask.shape[1], device=mask.device)
    visible = mask[:, None, :].expand(-1, mask.shape[1], -1)  # (B, S, S)
    if causal:
        visible = visible & (steps[None, None, :] <= steps[None, :, None])
    return visible | (steps[None, None, :] == steps[None, :, None])


def additive(visible: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    """Turns bool into 0 where visible and the dtype's lowest value where not."""
    hidden = torch.finfo(dtype).min
    return torch.zeros_like(visible, dtype=dtype).masked_fill(~visible, hidden)
