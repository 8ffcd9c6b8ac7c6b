"""XLNet (Yang et al., 2019) with each kind of attention, and with relative positions."""

from __future__ import annotations

import torch
from torch import nn
from transformers import XLNetConfig, XLNetModel

from nextitem_training.bodies.attention_masks import visible_steps, without_padding
from nextitem_training.bodies.spec import BodySettings, body


@body("xlnet", attention=("causal", "bidirectional", "permutation"))
class XlnetBody(nn.Module):
    """XLNet without memory.

    Which step sees which is given as its permutation mask (1.0 where hidden), also for CLM: its
    own `attn_type="uni"` does not go together with a mask per session.
    """

    def __init__(self, settings: BodySettings) -> None:
        super().__init__()
        self.causal = settings.causal
        self.permutation = settings.attention == "permutation"
        self.encoder = XLNetModel(
            XLNetConfig(
                d_model=settings.d_model,
                d_inner=settings.inner_width,
                n_layer=settings.layers,
                n_head=settings.num_attention_heads,
                dropout=settings.dropout,
                layer_norm_eps=settings.layer_norm_eps,
                initializer_range=settings.initializer_range,
                attn_type="bi",
                ff_activation=settings.activation or "gelu",
                mem_len=None,  # pyright: ignore[reportArgumentType]  None is documented
                vocab_size=1,  # inputs come embedded
            )
        )
        self.encoder.set_input_embeddings(None)  # they would never be trained

    def forward(
        self, inputs_embeds: torch.Tensor, mask: torch.Tensor, visible: torch.Tensor | None = None
    ) -> torch.Tensor:
        """inputs_embeds float32 [B, S, D], mask bool [B, S] → float32 [B, S, D].

        Built for permutation it takes visible bool [B, S, S], see BodySpec, and gives the query
        stream. The content stream sees the same steps and its own.
        """
        if self.permutation:
            itself = torch.eye(mask.shape[1], device=mask.device)  # (S, S); target i is step i
            seen = mask[:, None, :] & (itself == 0) if visible is None else visible
            targets = itself.to(inputs_embeds.dtype).expand(mask.shape[0], -1, -1)
        else:
            seen, targets = visible_steps(mask, self.causal), None  # (B, S, S)
        result = self.encoder(
            inputs_embeds=without_padding(inputs_embeds, mask),
            perm_mask=(~seen).to(inputs_embeds.dtype),
            target_mapping=targets,
            use_mems=False,
            return_dict=False,
        )
        if self.permutation and visible is None:
            # A query that sees nothing attends to everything, padding and itself included.
            return torch.where(seen.any(dim=2, keepdim=True), result[0], torch.zeros_like(result[0]))
        return result[0]
