"""Masked language modelling: hidden items are predicted (BERT4Rec; Sun et al., 2019)."""

from __future__ import annotations

import torch

from nextitem_training.config import ModelConfig
from nextitem_training.pretraining.cutting import cut, embed_further_step
from nextitem_training.pretraining.objective import (
    OBJECTIVES,
    BuildBody,
    Objective,
    Prediction,
    Targets,
    learned_step,
)
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


@OBJECTIVES.register("mlm")
class MaskedLanguageModelling(Objective):
    """The query is a [MASK] step that follows the session."""

    attention = "bidirectional"
    extra_steps = 1

    def __init__(self, config: ModelConfig, build_body: BuildBody) -> None:
        super().__init__(config, build_body)
        self.placeholder = learned_step(config)
        self.mask_probability = config.mask_probability

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Hides the last item of the cut session, and in a share of them others too."""
        mask, last, further = cut(items)
        others = torch.rand(items.shape, device=items.device) < self.mask_probability
        # A code without a meaning of its own is worth no prediction.
        wanted = (last | (others & further[:, None])) & mask & (items >= FIRST_KNOWN)
        return Targets(self.hide(embedded, wanted), mask, items * wanted)

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """Appends a step, puts [MASK] at step n and predicts from there."""
        length = (items != PADDING).sum(dim=1)
        longer = embed_further_step(embedded)  # (B, T + 1, D)
        steps = torch.arange(longer.shape[1], device=items.device)[None, :]
        mask = steps <= length[:, None]
        return Prediction(self.hide(longer, steps == length[:, None]), mask, length)

    def hide(self, embedded: torch.Tensor, hidden: torch.Tensor) -> torch.Tensor:
        """Puts [MASK] where hidden: float32 [B, S, D], bool [B, S] → float32 [B, S, D]."""
        return torch.where(hidden[..., None], self.placeholder, embedded)
