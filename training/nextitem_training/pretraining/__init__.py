"""Pre-training approaches: each file registers one on its last line."""

from nextitem_training.pretraining import clm, mlm, plm, rtd, transformers4rec
from nextitem_training.pretraining.registry import (
    APPROACHES,
    COMPATS,
    Approach,
    Prediction,
    Targets,
    approach_for,
)

__all__ = [
    "APPROACHES",
    "COMPATS",
    "Approach",
    "Prediction",
    "Targets",
    "approach_for",
    "clm",
    "mlm",
    "plm",
    "rtd",
    "transformers4rec",
]
