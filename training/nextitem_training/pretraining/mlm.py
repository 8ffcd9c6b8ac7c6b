"""Masked language modelling: hidden items are predicted (BERT4Rec; Sun et al., 2019)."""

from __future__ import annotations

import torch
from torch import nn

from nextitem_training.codes import FIRST_KNOWN, PADDING
from nextitem_training.config import ModelConfig
from nextitem_training.pretraining.registry import APPROACHES, Approach, Prediction, Targets

CLOZE_SHARE = 0.5
"""Share of a training batch's sessions in which further items are hidden."""


class MaskedLanguageModelling(Approach):
    """The query is a [MASK] step that follows the session."""

    causal = False
    extra_steps = 1

    def __init__(self, config: ModelConfig) -> None:
        super().__init__(config)
        self.mask_probability = config.mask_probability

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Cuts each session at random and hides its last item, in a share of them others too.

        The cut session looks as sessions do at inference, where nothing follows the [MASK], and
        every position gets its turn as the last.
        """
        real = items != PADDING
        length = real.sum(dim=1, keepdim=True)
        steps = torch.arange(items.shape[1], device=items.device)[None, :]
        chance = torch.rand(items.shape[0], 2, device=items.device)
        # From step 1, as a session's first item has nothing to be predicted from.
        last = (1 + chance[:, :1] * (length - 1)).long()
        last = torch.minimum(last, (length - 1).clamp(min=0))  # (B, 1)
        others = torch.rand(items.shape, device=items.device) < self.mask_probability
        hidden = (steps == last) | (others & (chance[:, 1:] < CLOZE_SHARE))
        mask = real & (steps <= last)
        # A code without a meaning of its own is worth no prediction.
        wanted = hidden & mask & (items >= FIRST_KNOWN)
        return Targets(self._hide(embedded, mask, wanted), mask, items * wanted)

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """Appends a step, puts [MASK] at step n and predicts from there."""
        length = (items != PADDING).sum(dim=1)
        longer = nn.functional.pad(embedded, (0, 0, 0, 1))  # (B, T + 1, D)
        steps = torch.arange(longer.shape[1], device=items.device)[None, :]
        mask = steps <= length[:, None]
        return Prediction(self._hide(longer, mask, steps == length[:, None]), mask, length)

    def _hide(self, embedded: torch.Tensor, mask: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Puts [MASK] where hidden and zeros where padded."""
        shown = torch.where(mask[..., None], embedded, torch.zeros_like(embedded))
        return torch.where(hidden[..., None], self.placeholder, shown)


APPROACHES.register("mlm", MaskedLanguageModelling)
