"""BERT4Rec (Sun et al., 2019), bidirectional: BERT and the projection before the scores."""

from __future__ import annotations

import torch
from torch import nn

from nextitem_training.bodies.bert import build as build_bert
from nextitem_training.bodies.spec import BodySettings, body


@body("bert4rec", attention=("bidirectional",))
class Bert4RecBody(nn.Module):
    """GELU(h W + b) of each of BERT's hidden states; the paper's equation 7 up to the items.

    A bias per item, which the equation has too, would belong to the scores, not to the body.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.encoder = build_bert(settings)
        self.projection = nn.Linear(settings.d_model, settings.d_model)
        nn.init.normal_(self.projection.weight, std=settings.initializer_range)
        nn.init.zeros_(self.projection.bias)

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        return nn.functional.gelu(self.projection(self.encoder(inputs_embeds, mask)))
