"""Reformer (Kitaev et al., 2020), bidirectional: local and LSH attention in turn, two residual streams.

Hugging Face's encoder runs through a reversible function that no exporter follows and that seeds torch's generator anew
in every layer of a training step. Here the same modules run one after another; reversing saves memory that sessions,
being short, do not need.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import ReformerConfig, ReformerModel

from nextitem_training.bodies.attention_masks import without_padding
from nextitem_training.bodies.spec import BodySettings, body


def configuration(settings: BodySettings) -> ReformerConfig:
    """One chunk holds all positions.

    So both kinds of attention see the whole session, and LSH attention, which hashes only what is longer than a chunk,
    is deterministic. It stays what it is otherwise: query and key are one, and a step does not look at itself.
    """
    columns = math.ceil(math.sqrt(settings.positions))
    return ReformerConfig(
        hidden_size=settings.d_model,
        num_attention_heads=settings.num_attention_heads,
        attention_head_size=settings.d_model // settings.num_attention_heads,
        attn_layers=[("local", "lsh")[layer % 2] for layer in range(settings.layers)],
        feed_forward_size=4 * settings.d_model,
        max_position_embeddings=settings.positions,
        local_attn_chunk_length=settings.positions,
        lsh_attn_chunk_length=settings.positions,
        axial_pos_shape=(math.ceil(settings.positions / columns), columns),
        axial_pos_embds_dim=(settings.d_model // 2, settings.d_model - settings.d_model // 2),
        axial_norm_std=settings.initializer_range,  # theirs is 1.0, beside which items would count for nothing
        hidden_dropout_prob=settings.dropout,
        local_attention_probs_dropout_prob=settings.dropout,
        lsh_attention_probs_dropout_prob=settings.dropout,
        layer_norm_eps=settings.layer_norm_eps,
        initializer_range=settings.initializer_range,
        is_decoder=False,
        vocab_size=1,  # inputs come embedded
        use_cache=False,
    )


@body("reformer", attention=("bidirectional",))
class ReformerBody(nn.Module):
    """Reformer's two streams, averaged to D where Hugging Face's returns them side by side as 2 × D.

    `encoder` loads a state dict of theirs.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.dropout = nn.Dropout(settings.dropout)
        # Any, since torch types what a module holds as Tensor | Module.
        self.encoder: Any = ReformerModel(configuration(settings))
        self.encoder.set_input_embeddings(None)  # inputs come embedded

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        attended, fed = self.streams(inputs_embeds, mask).chunk(2, dim=-1)
        return (attended + fed) / 2

    def streams(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """What Hugging Face's returns: float32 [B, S, 2 × D]."""
        shown = without_padding(inputs_embeds, mask)
        fed = self.dropout(shown) + self.dropout(self._position_table()[: mask.shape[1]])  # (B, S, D)
        attended = fed
        for layer in self.encoder.encoder.layers:
            attended = attended + layer.attention(fed, attention_mask=mask).hidden_states
            fed = fed + layer.feed_forward(attended)
        return self.dropout(self.encoder.encoder.layer_norm(torch.cat([attended, fed], dim=-1)))

    def _position_table(self) -> torch.Tensor:
        """float32 [rows × columns, D]: a position has its row's embedding and its column's.

        Theirs asks in training for sessions of exactly this length, and reads the longest position from the data.
        """
        embeddings = self.encoder.embeddings.position_embeddings
        axes = [weight.expand(*embeddings.axial_pos_shape, -1) for weight in embeddings.weights]
        return torch.cat(axes, dim=-1).flatten(0, 1)
