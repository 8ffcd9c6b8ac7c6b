"""XLNet (Yang et al., 2019), causal or bidirectional, with relative positions."""

from __future__ import annotations

import torch
from torch import nn
from transformers import XLNetConfig, XLNetModel

from nextitem_training.bodies.attention_masks import visible_steps, without_padding
from nextitem_training.bodies.registry import BODIES, BodySettings, BodySpec


class XlnetBody(nn.Module):
    """XLNet without memory.

    Which step sees which is given as its permutation mask (1.0 where hidden), also for CLM: its
    own `attn_type="uni"` does not go together with a mask per session.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.causal = settings.causal
        self.encoder = XLNetModel(
            XLNetConfig(
                d_model=settings.d_model,
                d_inner=4 * settings.d_model,
                n_layer=settings.layers,
                n_head=settings.heads,
                dropout=settings.dropout,
                layer_norm_eps=settings.layer_norm_eps,
                initializer_range=settings.initializer_range,
                attn_type="bi",
                mem_len=None,
                vocab_size=1,  # inputs come embedded
            )
        )
        self.encoder.set_input_embeddings(None)  # they would never be trained

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        hidden = ~visible_steps(mask, self.causal)  # (B, S, S)
        result = self.encoder(
            inputs_embeds=without_padding(inputs_embeds, mask),
            perm_mask=hidden.to(inputs_embeds.dtype),
            use_mems=False,
            return_dict=False,
        )
        return result[0]


BODIES.register("xlnet", BodySpec(XlnetBody, approaches=("clm", "mlm")))
