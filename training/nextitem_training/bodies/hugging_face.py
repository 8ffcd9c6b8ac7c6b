"""Encoders of Hugging Face Transformers that need nothing but a 2-D attention mask."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn
from transformers import PretrainedConfig, PreTrainedModel

from nextitem_training.bodies.attention_masks import without_padding
from nextitem_training.bodies.spec import BodySettings


def bert_like(config_class: type[PretrainedConfig], settings: BodySettings, **more: Any) -> Any:
    """Builds a configuration of BERT's family, whose field names the others share.

    What `more` gives stands in place of what is said here.
    """
    fields: dict[str, Any] = {
        "hidden_size": settings.d_model,
        "num_hidden_layers": settings.layers,
        "num_attention_heads": settings.num_attention_heads,
        "intermediate_size": settings.inner_width,
        "max_position_embeddings": settings.positions,
        "hidden_dropout_prob": settings.dropout,
        "attention_probs_dropout_prob": settings.dropout,
        "layer_norm_eps": settings.layer_norm_eps,
        "initializer_range": settings.initializer_range,
        "vocab_size": 1,  # inputs come embedded
        "attn_implementation": "eager",  # the others do not trace into a graph for any B and S
    }
    if settings.activation:
        fields["hidden_act"] = settings.activation
    return config_class(**(fields | more))


class MaskedEncoder(nn.Module):
    """A bidirectional encoder; padded steps are hidden by its own attention mask."""

    def __init__(self, encoder: PreTrainedModel) -> None:
        super().__init__()
        self.encoder = encoder
        # Inputs come embedded; these would never be trained.
        encoder.set_input_embeddings(None)  # pyright: ignore[reportArgumentType]

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        result = self.encoder(
            inputs_embeds=without_padding(inputs_embeds, mask),
            attention_mask=mask.to(inputs_embeds.dtype),
            return_dict=False,
        )
        return result[0]
