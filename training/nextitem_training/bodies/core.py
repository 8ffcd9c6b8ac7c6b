"""CORE (Hou et al., 2022), causal: a session is a weighted mean of its interactions' own vectors."""

from __future__ import annotations

import math

import torch
from torch import nn

from nextitem_training.bodies.attention_masks import additive, visible_steps, without_padding
from nextitem_training.bodies.gpt2 import Gpt2Body
from nextitem_training.bodies.spec import BodySettings, body


@body("core", attention=("causal",))
class CoreBody(nn.Module):
    """GPT-2 says what each interaction weighs; what is weighed are the inputs as they came, each of length 1.

    So a query lies among the items' vectors instead of being transformed away from them, where inputs are item embeddings alone
    (`aggregation = "sum"` without other features). The paper has one weight per interaction for the end of a session; here
    every step weighs those up to itself, so that each of them is trained on in one pass.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        width = settings.d_model
        self.encoder = Gpt2Body(settings)
        self.scale = math.sqrt(width)
        self.query, self.key = (nn.Linear(width, width, bias=False) for _ in range(2))

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        hidden = self.encoder(inputs_embeds, mask)
        scores = self.query(hidden) @ self.key(hidden).transpose(1, 2) / self.scale  # (B, S, S)
        weights = (scores + additive(visible_steps(mask, causal=True), scores.dtype)).softmax(dim=2)
        return weights @ nn.functional.normalize(without_padding(inputs_embeds, mask), dim=2)
