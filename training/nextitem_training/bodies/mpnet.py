"""MPNet (Song et al., 2020), bidirectional, with a bias for relative positions.

The body alone: its permuted pre-training is not MLM's.
"""

from __future__ import annotations

from dataclasses import replace

from transformers import MPNetConfig, MPNetModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body

PAD_TOKEN = 1
"""Written into MPNet's embeddings, whatever the configuration says."""


@body("mpnet", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder without its pooler. It counts positions from PAD_TOKEN + 1."""
    longer = replace(settings, positions=settings.positions + PAD_TOKEN + 1)
    config = bert_like(MPNetConfig, longer, vocab_size=PAD_TOKEN + 1, pad_token_id=PAD_TOKEN)
    return MaskedEncoder(MPNetModel(config, add_pooling_layer=False))
