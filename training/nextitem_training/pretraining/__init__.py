"""Pre-training approaches: a file for each, which registers itself."""

from nextitem_training.pretraining.approach import (
    APPROACHES,
    COMPATS,
    Approach,
    Prediction,
    Targets,
    approach_for,
)

__all__ = ["APPROACHES", "COMPATS", "Approach", "Prediction", "Targets", "approach_for"]
