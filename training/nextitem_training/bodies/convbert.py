"""ConvBERT (Jiang et al., 2020), bidirectional: half of the heads are dynamic convolutions."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import nn
from transformers import ConvBertConfig, ConvBertModel
from transformers.models.convbert.modeling_convbert import ConvBertSelfAttention

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body
from nextitem_training.errors import ConfigError


class PaddedSelfAttention(ConvBertSelfAttention):
    """Attention and convolution that both read real steps alone.

    Hugging Face's convolutions read padded steps, so that an answer depended on the padding.
    Here those hold zeros, as the steps beyond a sequence's ends do.
    """

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor,
        head_mask: None = None,
        encoder_hidden_states: None = None,
        output_attentions: bool | None = False,
    ) -> tuple[torch.Tensor]:
        """hidden_states [B, S, D], additive attention_mask [B, 1, 1, S] → one tensor [B, S, D]."""
        real = (attention_mask[:, 0, 0, :] == 0)[..., None]  # (B, S, 1)
        hidden_states = hidden_states * real
        query = self.query(hidden_states)  # (B, S, A), A = heads × width of a head
        spans = self._kernels(hidden_states, query)  # (B, S, heads, kernel, 1)
        windows = self._windows(self.conv_out_layer(hidden_states) * real)  # (B, S, heads, width, kernel)
        convolved = torch.matmul(windows, spans).squeeze(-1)  # (B, S, heads, width)
        attended = self._attention(query, hidden_states, attention_mask)  # (B, S, heads, width)
        return (torch.cat([attended, convolved], dim=2).flatten(2),)

    def _kernels(self, hidden_states: torch.Tensor, query: torch.Tensor) -> torch.Tensor:
        """Makes a convolution kernel of each step from its query and its neighbourhood."""
        around = self.key_conv_attn_layer(hidden_states.transpose(1, 2)).transpose(1, 2)
        kernels = self.conv_kernel_layer(around * query)
        shape = (self.num_attention_heads, self.conv_kernel_size)
        return kernels.unflatten(2, shape).softmax(dim=3)[..., None]

    def _windows(self, values: torch.Tensor) -> torch.Tensor:
        """Collects the steps around each step, zeros beyond the ends."""
        size = self.conv_kernel_size
        columns = values.transpose(1, 2)[..., None]  # (B, A, S, 1)
        windows = nn.functional.unfold(columns, kernel_size=(size, 1), padding=((size - 1) // 2, 0))
        shape = (self.num_attention_heads, self.attention_head_size, size)
        return windows.transpose(1, 2).unflatten(2, shape)

    def _attention(self, query: torch.Tensor, hidden_states: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        query, key, value = (
            states.unflatten(2, (self.num_attention_heads, self.attention_head_size)).transpose(1, 2)
            for states in (query, self.key(hidden_states), self.value(hidden_states))
        )
        scores = query @ key.transpose(2, 3) / math.sqrt(self.attention_head_size) + mask
        return (self.dropout(scores.softmax(dim=3)) @ value).transpose(1, 2)


@body("convbert", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder with its attention replaced.

    Raises ConfigError where the width does not split over what is left of the heads.
    """
    attending = max(1, settings.num_attention_heads // 2)
    if settings.d_model % (2 * attending):
        raise ConfigError(
            f"The body 'convbert' attends with half of its heads: {settings.num_attention_heads} heads leave {attending}, and "
            f"d_model, here {settings.d_model}, has to be a multiple of {2 * attending}. Take an even number of heads (for "
            "RTD's generator: of heads times generator_share)."
        )
    config = bert_like(ConvBertConfig, settings, embedding_size=settings.d_model, pad_token_id=0)
    encoder = ConvBertModel(config)
    layer: Any  # a ConvBertLayer; torch types what a ModuleList holds as Module
    for layer in encoder.encoder.layer:
        replacement = PaddedSelfAttention(config)
        replacement.load_state_dict(layer.attention.self.state_dict())  # as initialised
        layer.attention.self = replacement
    return MaskedEncoder(encoder)
