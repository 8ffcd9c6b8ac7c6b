"""compat = "transformers4rec": masks and positions as NVIDIA's Transformers4Rec 23.12 has them.

For models that were trained there. It gives the body no attention mask, so that a bidirectional
body reads the padded steps too; SessionModel therefore pads to the window whatever comes, and an
answer depends on the session and on the window alone.
"""

from __future__ import annotations

import torch

from nextitem_training.config import ModelConfig
from nextitem_training.pretraining.clm import CausalLanguageModelling
from nextitem_training.pretraining.cutting import scatter
from nextitem_training.pretraining.mlm import MaskedLanguageModelling
from nextitem_training.pretraining.objective import (
    COMPATS,
    BuildBody,
    Prediction,
    Targets,
    learned_step,
)
from nextitem_training.pretraining.plm import PermutationLanguageModelling
from nextitem_training.special_ids import FIRST_KNOWN, PADDING


class CausalAsThere(CausalLanguageModelling):
    """CLM: padded steps hold the learned embedding and are seen. A causal body never meets them."""

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """As without compat, unmasked."""
        targets = super().targets(embedded, items)
        return targets._replace(mask=torch.ones_like(targets.mask))

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """From step n - 1, unmasked."""
        prediction = super().prediction(embedded, items)
        return prediction._replace(mask=torch.ones_like(prediction.mask))


class MaskedAsThere(MaskedLanguageModelling):
    """MLM, and RTD too, whose fake items Transformers4Rec's trainer never asks for."""

    def targets(self, embedded: torch.Tensor, items: torch.Tensor) -> Targets:
        """Hides items anywhere in the whole session; padded steps keep their embedding."""
        hidden = scatter(items, self.mask_probability)
        return Targets(self.hide(embedded, hidden), torch.ones_like(hidden), items * (hidden & (items >= FIRST_KNOWN)))

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """One step longer, [MASK] at step n, unmasked; the step after a padded window is its last step again."""
        position = (items != PADDING).sum(dim=1)
        longer = torch.cat([embedded, embedded[:, -1:]], dim=1)  # (B, T + 1, D)
        steps = torch.arange(longer.shape[1], device=items.device)[None, :]
        asked = steps == position[:, None]
        return Prediction(self.hide(longer, asked), torch.ones_like(asked), position)


class PermutationAsThere(PermutationLanguageModelling):
    """PLM: inference runs the evaluation, which hides the last item in order to predict it.

    Changing the last item therefore changes nothing, and the first answer is a guess at that item. In a session of one item
    nothing is visible, and everything is weighed alike, that item and the padding included.
    """

    extra_steps = 0

    def __init__(self, config: ModelConfig, build_body: BuildBody) -> None:
        super().__init__(config, build_body)
        self.placeholder = learned_step(config)  # theirs has it, and shows it in training alone

    def prediction(self, embedded: torch.Tensor, items: torch.Tensor) -> Prediction:
        """From step n - 1, whose query sees the steps before it."""
        position = ((items != PADDING).sum(dim=1) - 1).clamp(min=0)
        steps = torch.arange(items.shape[1], device=items.device)
        last = steps[None, :] == position[:, None]  # (B, T)
        causal = steps[None, :] <= steps[:, None]  # (T, T)
        return Prediction(embedded, torch.ones_like(last), position, causal[None] & ~last[:, None, :])


COMPATS.register("transformers4rec")(
    {"clm": CausalAsThere, "mlm": MaskedAsThere, "plm": PermutationAsThere, "rtd": MaskedAsThere},
)
