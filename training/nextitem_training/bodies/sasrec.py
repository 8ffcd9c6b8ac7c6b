"""SASRec (Kang and McAuley, 2018), causal: self-attention over the interactions."""

from __future__ import annotations

import math

import torch
from torch import nn

from nextitem_training.bodies.attention_masks import additive, visible_steps, without_padding
from nextitem_training.bodies.spec import BodySettings, body


class SelfAttention(nn.Module):
    """Attention without a projection of its output; the paper has one head."""

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.num_attention_heads = settings.num_attention_heads
        self.scale = math.sqrt(settings.d_model // settings.num_attention_heads)
        self.query, self.key, self.value = (nn.Linear(settings.d_model, settings.d_model, bias=False) for _ in range(3))
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: torch.Tensor, hiding: torch.Tensor) -> torch.Tensor:
        """Hidden [B, S, D], additive hiding [B, 1, S, S] → [B, S, D]."""
        query, key, value = (
            project(hidden).unflatten(2, (self.num_attention_heads, -1)).transpose(1, 2)  # (B, heads, S, width)
            for project in (self.query, self.key, self.value)
        )
        scores = query @ key.transpose(2, 3) / self.scale
        weights = self.dropout((scores + hiding).softmax(dim=3))
        return (weights @ value).transpose(1, 2).flatten(2)


class Block(nn.Module):
    """x + Dropout(sublayer(LayerNorm(x))), for attention and for a network of width D."""

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        width = settings.d_model
        self.attention_norm = nn.LayerNorm(width, eps=settings.layer_norm_eps)
        self.attention = SelfAttention(settings)
        self.feed_forward_norm = nn.LayerNorm(width, eps=settings.layer_norm_eps)
        self.feed_forward = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Dropout(settings.dropout), nn.Linear(width, width)
        )
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: torch.Tensor, hiding: torch.Tensor) -> torch.Tensor:
        """Hidden [B, S, D], additive hiding [B, 1, S, S] → [B, S, D]."""
        hidden = hidden + self.dropout(self.attention(self.attention_norm(hidden), hiding))
        return hidden + self.dropout(self.feed_forward(self.feed_forward_norm(hidden)))


@body("sasrec", attention=("causal",))
class SasRecBody(nn.Module):
    """Blocks over learned positions, and a layer norm at the end.

    The body alone: the loss over all items stands in place of the paper's, of one sampled item.
    Sessions are padded on the right, so that positions count from a session's first interaction.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.positions = nn.Embedding(settings.positions, settings.d_model)
        self.dropout = nn.Dropout(settings.dropout)
        self.blocks = nn.ModuleList(Block(settings) for _ in range(settings.layers))
        self.norm = nn.LayerNorm(settings.d_model, eps=settings.layer_norm_eps)
        for module in self.modules():
            if isinstance(module, (nn.Linear, nn.Embedding)):
                nn.init.normal_(module.weight, std=settings.initializer_range)
            if isinstance(module, nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        positions = self.positions.weight[: inputs_embeds.shape[1]]  # (S, D)
        hidden = self.dropout(without_padding(inputs_embeds, mask) + positions)
        hiding = additive(visible_steps(mask, causal=True), hidden.dtype)[:, None]  # (B, 1, S, S)
        for block in self.blocks:
            hidden = block(hidden, hiding)
        return self.norm(hidden)
