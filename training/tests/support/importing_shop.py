"""The shop that the recorded models of training/tests/importing/ were built for: the same in both environments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import nvtabular as nvt
import pandas as pd
from merlin.schema import Tags
from nvtabular import ops

WINDOW = 5
ITEM, CATEGORY, PRICE, RATING = "item_id_list", "category_list", "price_list", "rating_list"


def interactions() -> pd.DataFrame:
    """80 sessions of 1 to 7 interactions with 14 items, of which no two are equally frequent."""
    random = np.random.default_rng(5)
    lengths = random.integers(1, 8, 80)
    rows = int(lengths.sum())
    item = np.repeat(np.arange(14), np.arange(14, 0, -1) * 4)
    item = np.concatenate([item, np.zeros(max(0, rows - len(item)), dtype=int)])[:rows]
    item = random.permutation(item)
    return pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(80), lengths),
            "item_id": [f"i{number:02d}" for number in item],
            "timestamp": pd.to_datetime(1_700_000_000 + np.arange(rows) * 60, unit="s"),
            "category": [["shirts", "hats", "shoes"][number * number % 3] for number in item],
            "price": (5 + item).astype("float32"),
            "rating": (item % 4).astype("float32"),
        }
    )


def fit(frame: pd.DataFrame, folder: Path) -> nvt.Workflow:
    """Fits a workflow as Transformers4Rec's examples have it."""
    item = ["item_id"] >> ops.Categorify(out_path=str(folder)) >> ops.AddMetadata(tags=[Tags.ITEM_ID, Tags.ITEM])
    category = ["category"] >> ops.Categorify(out_path=str(folder))
    numbers = ["price", "rating"] >> ops.Normalize() >> ops.FillMissing(0.0) >> ops.AddMetadata(tags=[Tags.CONTINUOUS])
    grouped = item + category + numbers + ["session_id", "timestamp"] >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=["timestamp"],
        aggs={name: ["list"] for name in ("item_id", "category", "price", "rating")},
    )
    lists = grouped[ITEM, CATEGORY, PRICE, RATING] >> ops.ListSlice(-WINDOW)
    return nvt.Workflow(lists + grouped["session_id"]).fit(nvt.Dataset(frame, cpu=True))


def features(workflow: nvt.Workflow, frame: pd.DataFrame) -> tuple[list[int], list[dict[str, np.ndarray]]]:
    """The sessions' ids and their features, [length] each, without padding."""
    table = workflow.transform(frame)
    dtypes = {ITEM: np.int64, CATEGORY: np.int64, PRICE: np.float32, RATING: np.float32}
    rows = [
        {name: np.asarray(table[name].iloc[row], dtype=dtype) for name, dtype in dtypes.items()}
        for row in range(len(table))
    ]
    return table["session_id"].tolist(), rows
