"""Funnel-Transformer (Dai et al., 2020), bidirectional, with factorised relative attention.

Without the funnel: pooling halves the steps between blocks, and with it a session's last step
would share a vector with what follows, padding included. One block has no pooling.
"""

from __future__ import annotations

from transformers import FunnelBaseModel, FunnelConfig

from nextitem_training.bodies.hugging_face import MaskedEncoder
from nextitem_training.bodies.spec import BodySettings, body


@body("funnel", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds one block of all layers, without the decoder that would undo the pooling."""
    encoder = FunnelBaseModel(
        FunnelConfig(
            d_model=settings.d_model,
            d_head=settings.d_model // settings.num_attention_heads,
            d_inner=4 * settings.d_model,
            n_head=settings.num_attention_heads,
            block_sizes=[settings.layers],
            num_decoder_layers=0,
            hidden_dropout=settings.dropout,
            attention_dropout=settings.dropout,
            layer_norm_eps=settings.layer_norm_eps,
            initializer_range=settings.initializer_range,
            attention_type="factorized",
            separate_cls=False,  # there is no step of its own for a whole session
            vocab_size=1,  # inputs come embedded
            attn_implementation="eager",
        )
    )
    return MaskedEncoder(encoder)
