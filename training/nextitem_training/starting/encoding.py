"""From split interactions to what training and evaluation read: the fitted workflow and the sessions it encodes."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from nextitem_training import workflow
from nextitem_training.config import Config
from nextitem_training.data.sessions import EncodedSessions, keep
from nextitem_training.data.split import Split, is_learnt_from
from nextitem_training.errors import DataError
from nextitem_training.schema import SessionSchema

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Everything that training and evaluation read."""

    fitted: workflow.WorkflowPair
    schema: SessionSchema
    training: EncodedSessions
    learnt: EncodedSessions
    """Of `training` the sessions that this training learns from: all, unless it goes on from an earlier time window."""
    validation: EncodedSessions | None
    held_out: EncodedSessions
    counts: np.ndarray
    """int64 [V - 3]: how often an item occurs in training."""


def fit_and_encode(
    split: Split, dtypes: Mapping[str, str], config: Config, storage: Path, cluster: Cluster | None = None
) -> Encoded:
    """Fits the workflow on the training interactions and encodes all; vocabularies lie in `storage`.

    Raises DataError where a part's encoded numbers are not finite.
    """
    fitted = workflow.fit(split.training, config.data, storage, cluster)
    schema = workflow.describe(fitted.served, config.data, dtypes, config.heads)
    logger.info("Features: %s.", ", ".join(schema.feature_names))

    def encoded(part: str, rows: pd.DataFrame) -> EncodedSessions:
        sessions = workflow.encode(fitted.whole, rows, schema, cluster, config.data.targets)
        _refuse_not_finite(sessions, schema, part)
        return sessions

    training = encoded("training", split.training)
    return Encoded(
        fitted=fitted,
        schema=schema,
        training=training,
        learnt=keep(training, is_learnt_from(split, training.session_ids, config.data)),
        validation=encoded("validation", split.validation) if len(split.validation) else None,
        held_out=encoded("held-out", split.held_out),
        counts=workflow.vocabulary(fitted.served, schema.item_column).counts,
    )


def _refuse_not_finite(sessions: EncodedSessions, schema: SessionSchema, part: str) -> None:
    """Raises DataError: one such number makes the weights NaN that it touches, and then all of them."""
    for name in schema.feature_names:
        values = sessions.features[name]
        wrong = int(np.count_nonzero(~np.isfinite(values)))
        if wrong:
            raise DataError(
                f"Column '{name}' is NaN or infinite in {wrong} of the {len(values)} interactions of the {part} part once it "
                "is normalised: it holds values that float32 cannot add up. Replace its extreme values by null, or list it in "
                "[data] log_continuous."
            )
