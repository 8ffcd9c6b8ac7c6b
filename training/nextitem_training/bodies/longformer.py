"""Longformer (Beltagy et al., 2020), causal or bidirectional: every step sees a band of its neighbours.

Hugging Face's forward cuts the sequence into chunks whose sizes a trace takes for constants: it answers wrongly, and
without a word, at another batch size. Here the band is a mask on dense attention, over Hugging Face's own modules.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers import LongformerConfig, LongformerModel
from transformers.models.longformer.modeling_longformer import LongformerSelfAttention

from nextitem_training.bodies.attention_masks import additive, visible_steps, without_padding
from nextitem_training.bodies.hugging_face import bert_like
from nextitem_training.bodies.spec import BodySettings, body

WIDEST_WINDOW = 512
"""The paper's and Hugging Face's: half of it on either side. Fewer positions than 258 all see each other."""


@body("longformer", attention=("causal", "bidirectional"))
class LongformerBody(nn.Module):
    """Longformer without global attention: its weights, which nothing would read, are left out.

    `encoder` loads a state dict of Hugging Face's and passes over those. CLM keeps the half of the band that lies in
    the past, which Hugging Face's does not offer.
    """

    def __init__(self, settings: BodySettings, widest_window: int = WIDEST_WINDOW) -> None:
        super().__init__()
        self.causal = settings.causal
        window = min(widest_window, 2 * max(1, settings.positions - 1))
        self.reach = window // 2
        # Any, since torch types what a module holds as Tensor | Module.
        self.encoder: Any = LongformerModel(
            bert_like(
                LongformerConfig,
                replace(settings, positions=settings.positions + 1),  # they count from pad_token_id + 1
                pad_token_id=0,
                attention_window=window,
            ),
            add_pooling_layer=False,
        )
        self.encoder.set_input_embeddings(None)  # inputs come embedded
        for layer in self.encoder.encoder.layer:
            attention = layer.attention.self
            attention.query_global = attention.key_global = attention.value_global = None

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        steps = torch.arange(mask.shape[1], device=mask.device)
        band = (steps[None, :] - steps[:, None]).abs() <= self.reach  # (S, S)
        hidden_steps = additive(visible_steps(mask, self.causal) & band, inputs_embeds.dtype)[:, None]  # (B, 1, S, S)
        hidden = self.encoder.embeddings(inputs_embeds=without_padding(inputs_embeds, mask))
        for layer in self.encoder.encoder.layer:
            attended = local_attention(layer.attention.self, hidden, hidden_steps)
            hidden = layer.ff_chunk(layer.attention.output(attended, hidden))
        return hidden


def local_attention(
    attention: LongformerSelfAttention, hidden: torch.Tensor, hidden_steps: torch.Tensor
) -> torch.Tensor:
    """The module's local attention, dense.

    Args:
        attention: gives weights, heads and dropout.
        hidden: float32 [B, S, D].
        hidden_steps: float32 [B, 1, S, S], added to the scores.

    Returns:
        float32 [B, S, D], before the output projection.
    """
    sessions, steps, width = hidden.shape

    def split(projected: torch.Tensor) -> torch.Tensor:
        return projected.view(sessions, steps, attention.num_heads, attention.head_dim).transpose(1, 2)

    query = split(attention.query(hidden)) / math.sqrt(attention.head_dim)  # (B, heads, S, D / heads)
    key, value = split(attention.key(hidden)), split(attention.value(hidden))
    shares = (query @ key.transpose(2, 3) + hidden_steps).softmax(dim=-1)  # (B, heads, S, S)
    shares = nn.functional.dropout(shares, attention.dropout, attention.training)
    return (shares @ value).transpose(1, 2).reshape(sessions, steps, width)
