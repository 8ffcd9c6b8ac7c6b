"""The bodies: each file registers one architecture on its last line.

Another one of Hugging Face's costs a file such as bert.py and its import here.
"""

from nextitem_training.bodies import (  # noqa: F401  importing registers
    albert,
    bert,
    bert4rec,
    convbert,
    core,
    deberta,
    deberta_v2,
    distilbert,
    electra,
    funnel,
    gpt2,
    gru4rec,
    longformer,
    megatron_bert,
    mpnet,
    reformer,
    roberta,
    roformer,
    sasrec,
    transformer_xl,
    xlnet,
)
from nextitem_training.bodies.registry import BODIES, BodySettings, BodySpec, check_combination

__all__ = ["BODIES", "BodySettings", "BodySpec", "check_combination"]
