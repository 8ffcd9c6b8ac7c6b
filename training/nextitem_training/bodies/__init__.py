"""The bodies: each file registers one architecture on its last line.

Another one of Hugging Face's costs a file such as bert.py and its import here.
"""

from nextitem_training.bodies import (
    albert,
    bert,
    bert4rec,
    convbert,
    deberta,
    deberta_v2,
    distilbert,
    electra,
    funnel,
    gpt2,
    gru4rec,
    megatron_bert,
    mpnet,
    roberta,
    roformer,
    sasrec,
    xlnet,
)
from nextitem_training.bodies.registry import BODIES, BodySettings, BodySpec, check_combination

__all__ = [
    "BODIES",
    "BodySettings",
    "BodySpec",
    "albert",
    "bert",
    "bert4rec",
    "check_combination",
    "convbert",
    "deberta",
    "deberta_v2",
    "distilbert",
    "electra",
    "funnel",
    "gpt2",
    "gru4rec",
    "megatron_bert",
    "mpnet",
    "roberta",
    "roformer",
    "sasrec",
    "xlnet",
]
