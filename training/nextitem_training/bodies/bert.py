"""BERT (Devlin et al., 2019), bidirectional."""

from __future__ import annotations

from transformers import BertConfig, BertModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("bert", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder without its pooler."""
    return MaskedEncoder(BertModel(bert_like(BertConfig, settings), add_pooling_layer=False))
