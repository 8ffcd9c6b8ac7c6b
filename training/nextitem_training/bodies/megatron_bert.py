"""Megatron-BERT (Shoeybi et al., 2019), bidirectional: BERT with layer norms before the sublayers."""

from __future__ import annotations

from transformers import MegatronBertConfig, MegatronBertModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("megatron_bert", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder without its pooler."""
    return MaskedEncoder(MegatronBertModel(bert_like(MegatronBertConfig, settings), add_pooling_layer=False))
