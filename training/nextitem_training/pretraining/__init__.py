"""Pre-training approaches: each file registers one on its last line."""

from nextitem_training.pretraining import clm, mlm
from nextitem_training.pretraining.registry import APPROACHES, Approach, Prediction, Targets

__all__ = ["APPROACHES", "Approach", "Prediction", "Targets", "clm", "mlm"]
