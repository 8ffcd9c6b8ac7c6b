"""A second shop of these tests: 17,000 items with INT64 ids up to the type's limits, and no column of strings."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from serving_tests.support.made.shop import trained

NAME = "warehouse"
WINDOW = 5
LIMITS = np.iinfo(np.int64)
#: Ids that a float64, an int32 or a careless comparison takes for their neighbours. The smallest INT64 is null.
NEIGHBOURS = [
    *(LIMITS.max - 2, LIMITS.max - 1, LIMITS.max, LIMITS.min + 1, LIMITS.min + 2, LIMITS.min + 3),
    *(2**53 - 1, 2**53, 2**53 + 1, -(2**53) - 1, -(2**53), 2**31 - 1, 2**31, 2**32, -1, 0, 1),
]
#: More than the widest list of filters holds.
ITEMS = 17_000
#: More than are left where a session excludes as many items as it may.
MAX_TOP_K = 1_000

CONFIG = f"""
[data]
session_column = "visit"
item_column = "item_id"
time_column = "timestamp"
categorical = ["shelf"]
continuous = ["weight"]
window = {WINDOW}
holdout_days = 1
sample_sessions = 60

[model]
body = "gpt2"
pretraining = "clm"
d_model = 8
side_width = 4
layers = 1
heads = 1
dropout = 0.0
initializer_range = 0.5

[training]
epochs = 1
batch_size = 512
"""


def interactions() -> pd.DataFrame:
    """Two weeks of visits, five interactions each; every item is bought before the last day."""
    random = np.random.default_rng(0)
    others = np.setdiff1d(random.integers(LIMITS.min + 4, LIMITS.max - 3, ITEMS + 100), NEIGHBOURS)
    catalogue = np.array([*NEIGHBOURS, *random.permutation(others)[: ITEMS - len(NEIGHBOURS)]], dtype=np.int64)
    again = np.repeat(np.array(NEIGHBOURS), 30)  # the most popular ones
    items = np.concatenate([random.permutation(np.concatenate([catalogue, again])), random.choice(catalogue, 1_500)])
    visits = np.arange(len(items)) // 5
    return pd.DataFrame(
        {
            "visit": visits,
            "item_id": items,
            "timestamp": pd.Timestamp("2024-01-01") + pd.to_timedelta(visits * 300, unit="s"),
            "shelf": np.array([LIMITS.max, LIMITS.min + 1, 7])[items % 3],
            "weight": (items % 100).astype(np.float32),
        }
    )


def train(folder: Path) -> None:
    """The run `warehouse`."""
    trained(interactions(), CONFIG, folder / "runs" / NAME)
