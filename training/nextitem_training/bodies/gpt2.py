"""GPT-2 (Radford et al., 2019), causal."""

from __future__ import annotations

import torch
from torch import nn
from transformers import GPT2Config, GPT2Model

from nextitem_training.bodies.attention_masks import additive, visible_steps, without_padding
from nextitem_training.bodies.spec import BodySettings, body


@body("gpt2", attention=("causal",))
class Gpt2Body(nn.Module):
    """GPT-2 with a ready 4-D mask: the one it makes itself does not trace for any B and S."""

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.decoder = GPT2Model(
            GPT2Config(
                n_embd=settings.d_model,
                n_inner=settings.inner_width,
                n_layer=settings.layers,
                n_head=settings.num_attention_heads,
                n_positions=settings.positions,
                resid_pdrop=settings.dropout,
                embd_pdrop=settings.dropout,
                attn_pdrop=settings.dropout,
                activation_function=settings.activation or "gelu_new",
                layer_norm_epsilon=settings.layer_norm_eps,
                initializer_range=settings.initializer_range,
                vocab_size=1,  # inputs come embedded
                use_cache=False,
                attn_implementation="eager",
            )
        )
        self.decoder.set_input_embeddings(None)  # they would never be trained

    def forward(self, inputs_embeds: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D]."""
        visible = visible_steps(mask, causal=True)[:, None]  # (B, 1, S, S)
        result = self.decoder(
            inputs_embeds=without_padding(inputs_embeds, mask),
            attention_mask=additive(visible, inputs_embeds.dtype),
            use_cache=False,
            return_dict=False,
        )
        return result[0]
