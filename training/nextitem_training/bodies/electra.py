"""ELECTRA (Clark et al., 2020), bidirectional.

The discriminator's body, which is BERT's; what ELECTRA adds is a way of pre-training.
"""

from __future__ import annotations

from transformers import ElectraConfig, ElectraModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("electra", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder; embeddings of width D need no projection."""
    return MaskedEncoder(ElectraModel(bert_like(ElectraConfig, settings, embedding_size=settings.d_model)))
