"""RoBERTa (Liu et al., 2019), bidirectional: BERT's body, trained longer and without sentence pairs."""

from __future__ import annotations

from dataclasses import replace

from transformers import RobertaConfig, RobertaModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body

PAD_TOKEN = 0


@body("roberta", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder without its pooler. It counts positions from PAD_TOKEN + 1."""
    longer = replace(settings, positions=settings.positions + PAD_TOKEN + 1)
    config = bert_like(RobertaConfig, longer, pad_token_id=PAD_TOKEN)
    return MaskedEncoder(RobertaModel(config, add_pooling_layer=False))
