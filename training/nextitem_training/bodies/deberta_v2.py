"""DeBERTa's second version (He et al., 2021, of DeBERTaV3 (He et al., 2023) too), bidirectional."""

from __future__ import annotations

from transformers import DebertaV2Config, DebertaV2Model

from nextitem_training.bodies.hugging_face import MaskedEncoder, bert_like
from nextitem_training.bodies.spec import BodySettings, body


@body("deberta_v2", attention=("bidirectional",))
def build(settings: BodySettings) -> MaskedEncoder:
    """Builds the encoder: content and position share their projections.

    Sessions are too short for its logarithmic buckets of distances: each distance has its own
    embedding. The convolution of its largest models is left out.
    """
    config = bert_like(
        DebertaV2Config,
        settings,
        relative_attention=True,
        pos_att_type=["c2p", "p2c"],
        position_biased_input=False,
        share_att_key=True,
        norm_rel_ebd="layer_norm",
    )
    return MaskedEncoder(DebertaV2Model(config))
