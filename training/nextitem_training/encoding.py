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
from nextitem_training.schema import SessionSchema
from nextitem_training.sessions import EncodedSessions, keep
from nextitem_training.split import Split, is_learnt_from

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Encoded:
    """Everything that training and evaluation read."""

    fitted: workflow.FittedWorkflow
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
    """Fits the workflow on the training interactions and encodes all; vocabularies lie in `storage`."""
    fitted = workflow.fit(split.training, config.data, storage, cluster)
    schema = workflow.describe(fitted.served, config.data, dtypes, config.heads)
    logger.info("Features: %s.", ", ".join(schema.feature_names))

    def encoded(rows: pd.DataFrame) -> EncodedSessions:
        return workflow.encode(fitted.whole, rows, schema, cluster, config.data.targets)

    training = encoded(split.training)
    return Encoded(
        fitted=fitted,
        schema=schema,
        training=training,
        learnt=keep(training, is_learnt_from(split, training.session_ids, config.data)),
        validation=encoded(split.validation) if len(split.validation) else None,
        held_out=encoded(split.held_out),
        counts=workflow.vocabulary(fitted.served, schema.item_column).counts,
    )
