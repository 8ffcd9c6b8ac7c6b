"""RoFormer (Su et al., 2021), causal or bidirectional, with rotary positions."""

from __future__ import annotations

import torch
from torch import nn
from transformers import RoFormerConfig, RoFormerModel

from nextitem_training.bodies.attention_masks import visible_steps, without_padding
from nextitem_training.bodies.hugging_face import bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("roformer", attention=("causal", "bidirectional"))
class RoformerBody(nn.Module):
    """RoFormer that is given which step sees which, causal or not, as a 3-D mask.

    Its own way to be causal, `is_decoder`, brings a cache along.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.causal = settings.causal
        self.encoder = RoFormerModel(bert_like(RoFormerConfig, settings))
        self.encoder.set_input_embeddings(None)  # pyright: ignore[reportArgumentType]  inputs come embedded

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        result = self.encoder(
            inputs_embeds=without_padding(inputs_embeds, mask),
            attention_mask=visible_steps(mask, self.causal).to(inputs_embeds.dtype),  # (B, S, S)
            return_dict=False,
        )
        return result[0]
