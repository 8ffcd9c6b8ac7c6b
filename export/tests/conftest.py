"""A shop small enough to fit and export in a second: the workflow as a user would write it, with a tiny model."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

warnings.filterwarnings("ignore")

WINDOW = 4


class TinyModel(nn.Module):
    """Sums embeddings weighted by position from the end; reads items, category and price."""

    item_feature = "item_id-list"
    feature_names = ("item_id-list", "category-list", "price-list")

    def __init__(self, items: int, categories: int, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(items, width)
        self.categories = nn.Embedding(categories, width)
        self.price = nn.Linear(1, width)

    def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        codes = features["item_id-list"]
        real = (codes != 0).float().unsqueeze(-1)
        steps = self.items(codes) + self.categories(features["category-list"])
        steps = torch.tanh(steps + self.price(features["price-list"].unsqueeze(-1))) * real
        age = real.flip(1).cumsum(1).flip(1)
        return (steps / age.clamp(min=1)).sum(1)

    def item_table(self) -> torch.Tensor:
        return self.items.weight


def interactions(sessions: int = 60, seed: int = 0, *, string_items: bool = True) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, sessions)
    rows = int(lengths.sum())
    item = random.zipf(1.5, rows) % 30
    return pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(sessions), lengths),
            "item_id": [f"ø{i}" for i in item] if string_items else item * 10**15,
            "timestamp": pd.to_datetime(1_600_000_000 + np.sort(random.integers(0, 10**6, rows)), unit="s"),
            "category": item % 5,
            "price": (1 + item).astype("float32"),
            "position": np.arange(rows),
        }
    )


def fit(
    frame: pd.DataFrame,
    folder: Path,
    *,
    window_slice=(-WINDOW,),
    session_filter: bool = False,
    tie_breaker: bool = True,
):
    """Fit the shop's workflow; NVTabular writes its vocabularies into `folder`."""
    import nvtabular as nvt
    from nvtabular import ops

    codes = ["item_id", "category"] >> ops.Categorify(dtype="int64", out_path=str(folder))
    price = ["price"] >> ops.LogOp() >> ops.Normalize() >> ops.FillMissing(0)
    time = ["timestamp", "position"] if tie_breaker else ["timestamp"]
    grouped = codes + price + ["session_id", *time] >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=time,
        aggs={"item_id": ["list", "count"], "category": ["list"], "price": ["list"]},
        name_sep="-",
    )
    lists = grouped["item_id-list", "category-list", "price-list"] >> ops.ListSlice(*window_slice)
    output = lists + grouped["session_id", "item_id-count"]
    if session_filter:
        output = output >> ops.Filter(f=lambda df: df["item_id-count"] >= 2)
    workflow = nvt.Workflow(output)
    workflow.fit(nvt.Dataset(frame))
    return workflow


@pytest.fixture(scope="session")
def frame() -> pd.DataFrame:
    return interactions()


@pytest.fixture(scope="session")
def workflow(frame, tmp_path_factory):
    return fit(frame, tmp_path_factory.mktemp("workflow"))


@pytest.fixture(scope="session")
def model(workflow) -> TinyModel:
    return TinyModel(*_cardinalities(workflow)).eval()


def _cardinalities(workflow) -> list[int]:
    schema = workflow.output_schema
    return [schema[name].properties["embedding_sizes"]["cardinality"] for name in ("item_id-list", "category-list")]
