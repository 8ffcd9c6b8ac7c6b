"""Transformer-XL (Dai et al., 2019), causal, with relative positions.

Our own: Hugging Face's is in transformers 4 alone, where its forward fails (`type_as(dtype=...)`) and branches on
values, which no trace keeps. The modules are named as there, so that a state dict of `TransfoXLModel` loads with
`strict=False`.

A session is one segment: there is no memory of an earlier one, and every step sees all steps before it.
(Transformers4Rec's mem_len=1 with same_length=True lets the last step see nothing but itself.)
"""

from __future__ import annotations

import math

import torch
from torch import nn

from nextitem_training.bodies.attention_masks import additive, visible_steps, without_padding
from nextitem_training.bodies.spec import BodySettings, body


class RelativeAttention(nn.Module):
    """Attention by content and by distance, section 3.3 of the paper, with residual and LayerNorm."""

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        width = settings.d_model
        self.num_attention_heads = settings.num_attention_heads
        self.head_width = settings.d_model // settings.num_attention_heads
        self.qkv_net = nn.Linear(width, 3 * width, bias=False)
        self.r_net = nn.Linear(width, width, bias=False)
        self.o_net = nn.Linear(width, width, bias=False)
        self.r_w_bias = nn.Parameter(torch.empty(self.num_attention_heads, self.head_width))  # u of the paper
        self.r_r_bias = nn.Parameter(torch.empty(self.num_attention_heads, self.head_width))  # v of the paper
        self.layer_norm = nn.LayerNorm(width, eps=settings.layer_norm_eps)
        self.dropout = nn.Dropout(settings.dropout)

    def forward(self, hidden: torch.Tensor, distances: torch.Tensor, hidden_steps: torch.Tensor) -> torch.Tensor:
        """Lets every step look at those before it.

        Args:
            hidden: float32 [B, S, D].
            distances: float32 [S, D], an embedding of each distance, from S - 1 down to 0.
            hidden_steps: float32 [B, 1, S, S], added to the scores; it has to hide all later steps.

        Returns:
            float32 [B, S, D].
        """
        query, key, value = (self._split(part) for part in self.qkv_net(hidden).chunk(3, dim=2))  # (B, heads, S, d)
        distance = self._split(self.r_net(distances)[None])  # (1, heads, S, d)
        by_content = (query + self.r_w_bias[:, None]) @ key.transpose(2, 3)  # (B, heads, S, S)
        by_distance = at_their_keys((query + self.r_r_bias[:, None]) @ distance.transpose(2, 3))
        scores = (by_content + by_distance) / math.sqrt(self.head_width)
        shares = self.dropout((scores + hidden_steps).softmax(dim=-1))
        attended = (shares @ value).transpose(1, 2).flatten(2)  # (B, S, D)
        return self.layer_norm(hidden + self.dropout(self.o_net(attended)))

    def _split(self, projected: torch.Tensor) -> torch.Tensor:
        sessions, steps, _ = projected.shape
        # Not unflatten, whose sizes the older ONNX exporter takes for constants.
        return projected.view(sessions, steps, self.num_attention_heads, self.head_width).transpose(1, 2)


def at_their_keys(scores: torch.Tensor) -> torch.Tensor:
    """Moves each step's scores by distance, S - 1 down to 0, to the keys at these distances.

    Appendix B of the paper: a column of zeros in front, and what was row i starts S - 1 - i columns further left.

    Args:
        scores: float32 [B, heads, S, S].

    Returns:
        float32 [B, heads, S, S]; what stands at later keys means nothing.
    """
    sessions, heads, steps, _ = scores.shape
    shifted = nn.functional.pad(scores, (1, 0)).reshape(sessions, heads, steps + 1, steps)
    return shifted[:, :, 1:]


class FeedForward(nn.Module):
    """Two layers, with residual and LayerNorm."""

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.CoreNet = nn.Sequential(
            nn.Linear(settings.d_model, 4 * settings.d_model),
            nn.ReLU(),
            nn.Dropout(settings.dropout),
            nn.Linear(4 * settings.d_model, settings.d_model),
            nn.Dropout(settings.dropout),
        )
        self.layer_norm = nn.LayerNorm(settings.d_model, eps=settings.layer_norm_eps)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        """float32 [B, S, D] → float32 [B, S, D]."""
        return self.layer_norm(hidden + self.CoreNet(hidden))


class Layer(nn.Module):
    """Attention, then feed-forward."""

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.dec_attn = RelativeAttention(settings)
        self.pos_ff = FeedForward(settings)

    def forward(self, hidden: torch.Tensor, distances: torch.Tensor, hidden_steps: torch.Tensor) -> torch.Tensor:
        """As RelativeAttention."""
        return self.pos_ff(self.dec_attn(hidden, distances, hidden_steps))


@body("transformer_xl", attention=("causal",))
class TransformerXlBody(nn.Module):
    """Transformer-XL without memory; dropout also falls on the attention's shares."""

    frequencies: torch.Tensor

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.layers = nn.ModuleList(Layer(settings) for _ in range(settings.layers))
        self.dropout = nn.Dropout(settings.dropout)
        even = torch.arange(0, settings.d_model, 2)
        self.register_buffer("frequencies", 1 / 10000 ** (even / settings.d_model), persistent=False)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=settings.initializer_range)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, RelativeAttention):
                nn.init.normal_(module.r_w_bias, std=settings.initializer_range)
                nn.init.normal_(module.r_r_bias, std=settings.initializer_range)

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        hidden_steps = additive(visible_steps(mask, causal=True), inputs_embeds.dtype)[:, None]  # (B, 1, S, S)
        distances = self.dropout(self._distances(mask))
        hidden = self.dropout(without_padding(inputs_embeds, mask))
        for layer in self.layers:
            hidden = layer(hidden, distances, hidden_steps)
        return self.dropout(hidden)

    def _distances(self, mask: torch.Tensor) -> torch.Tensor:
        """float32 [S, D]: the sinusoids of each distance, from S - 1 down to 0."""
        steps = mask.shape[1]
        distance = steps - 1 - torch.arange(steps, device=mask.device)
        angle = distance[:, None] * self.frequencies[None, :]
        return torch.cat([angle.sin(), angle.cos()], dim=-1)
