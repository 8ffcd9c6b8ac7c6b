"""What a new model takes from the training data before it learns."""

from __future__ import annotations

from nextitem_training.config import Config
from nextitem_training.model import SessionModel
from nextitem_training.sessions import EncodedSessions
from nextitem_training.targets import check_training_targets


def prepare(model: SessionModel, training: EncodedSessions, config: Config) -> None:
    """Gives the heads the statistics of their targets.

    Args:
        training: whole sessions with the heads' columns.

    Raises DataError where a head's column has no value in training.
    """
    check_training_targets(training.features, config.heads)
    for head in model.heads:
        head.take_statistics(training.features[head.column])
