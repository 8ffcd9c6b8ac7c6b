"""Pre-training objectives: a file for each, which registers itself."""

from nextitem_training.pretraining.objective import (
    COMPATS,
    OBJECTIVES,
    Objective,
    Prediction,
    Targets,
    objective_for,
)

__all__ = ["COMPATS", "OBJECTIVES", "Objective", "Prediction", "Targets", "objective_for"]
