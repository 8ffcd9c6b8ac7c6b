"""DistilBERT (Sanh et al., 2019), bidirectional: BERT without token types and pooler."""

from __future__ import annotations

from torch import nn
from transformers import DistilBertConfig, DistilBertModel

from nextitem_training.bodies.hugging_face import MaskedEncoder
from nextitem_training.bodies.spec import BodySettings, body


@body("distilbert", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder. Its configuration has no layer_norm_eps: it is set afterwards."""
    encoder = DistilBertModel(
        DistilBertConfig(
            dim=settings.d_model,
            hidden_dim=4 * settings.d_model,
            n_layers=settings.layers,
            n_heads=settings.num_attention_heads,
            max_position_embeddings=settings.positions,
            dropout=settings.dropout,
            attention_dropout=settings.dropout,
            initializer_range=settings.initializer_range,
            vocab_size=1,  # inputs come embedded
            attn_implementation="eager",
        )
    )
    for module in encoder.modules():
        if isinstance(module, nn.LayerNorm):
            module.eps = settings.layer_norm_eps
    return MaskedEncoder(encoder)
