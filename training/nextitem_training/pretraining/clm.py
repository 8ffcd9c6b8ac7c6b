"""Causal language modelling: every step predicts the next item (GPT; Radford et al., 2018)."""

from __future__ import annotations

import torch

from nextitem_training.config import ModelConfig
from nextitem_training.pretraining.objective import (
    OBJECTIVES,
    BuildBody,
    Objective,
    Prediction,
    Targets,
    learned_step,
)
from nextitem_training.special_ids import PADDING


@OBJECTIVES.register("clm")
class CausalLanguageModelling(Objective):
    """The query is the last real step; padded steps are replaced by a learned embedding."""

    attention = "causal"
    extra_steps = 0

    def __init__(self, config: ModelConfig, build_body: BuildBody) -> None:
        super().__init__(config, build_body)
        self.placeholder = learned_step(config)

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Step i predicts item i + 1, so that the last step is a target alone."""
        mask = items[:, :-1] != PADDING
        return Targets(self._fill(embedded[:, :-1], mask), mask, items[:, 1:])

    def at_predicted(self, values: torch.Tensor) -> torch.Tensor:
        """Those of the next interaction: [B, S] → [B, S - 1]."""
        return values[:, 1:]

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """Predicts from step n - 1; an empty session from step 0."""
        mask = items != PADDING
        position = (mask.sum(dim=1) - 1).clamp(min=0)
        return Prediction(self._fill(embedded, mask), mask, position)

    def _fill(self, embedded: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        return torch.where(mask[..., None], embedded, self.placeholder)
