"""The bodies: each file registers one architecture on its last line.

Another one of Hugging Face's costs a file such as bert.py and its import here.
"""

from nextitem_training.bodies import bert, gpt2, longformer, reformer, transformer_xl, xlnet
from nextitem_training.bodies.registry import BODIES, BodySettings, BodySpec, check_combination

__all__ = [
    "BODIES",
    "BodySettings",
    "BodySpec",
    "bert",
    "check_combination",
    "gpt2",
    "longformer",
    "reformer",
    "transformer_xl",
    "xlnet",
]
