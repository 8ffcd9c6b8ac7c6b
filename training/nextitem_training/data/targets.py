"""The columns that heads predict: what they have to hold."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from nextitem_training.config.heads import BINARY, HeadConfig
from nextitem_training.errors import DataError


def check_targets(frame: pd.DataFrame, heads: Iterable[HeadConfig]) -> None:
    """Raises DataError where a binary head's column holds something else than 0, 1 or null.

    frame: as `interactions.read_interactions` gives it, where targets are float32 and null is NaN.
    """
    for head in heads:
        values = frame[head.column].to_numpy()
        wrong = values[~np.isnan(values) & (values != 0) & (values != 1)]
        if head.kind == BINARY and len(wrong):
            raise DataError(
                f"Column '{head.column}' holds {wrong[0]:g} in one of {len(wrong)} rows that are neither 0 nor 1; the "
                f"{BINARY} head '{head.name}' takes 0, 1, false, true or null. Convert the column, or make the head a "
                "regression."
            )
