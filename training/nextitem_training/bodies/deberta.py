"""DeBERTa (He et al., 2021), bidirectional, with attention disentangled into content and position."""

from __future__ import annotations

from transformers import DebertaConfig, DebertaModel

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("deberta", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder as published.

    The defaults of its configuration switch disentangled attention off and leave a BERT.
    """
    config = bert_like(
        DebertaConfig,
        settings,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
    )
    return MaskedEncoder(DebertaModel(config))
