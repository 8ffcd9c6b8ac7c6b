"""ALBERT (Lan et al., 2020), bidirectional: one layer's weights serve all layers."""

from __future__ import annotations

from transformers import AlbertConfig, AlbertModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("albert", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder without its pooler.

    Its second saving, item embeddings narrower than D, has no place here: the input is of width D.
    """
    config = bert_like(AlbertConfig, settings, embedding_size=settings.d_model)
    return MaskedEncoder(AlbertModel(config, add_pooling_layer=False))
