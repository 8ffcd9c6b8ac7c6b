"""A small shop in which every item is followed by the next one, and a model trained on it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import pytest

from nextitem_training.config import Config, config_from
from nextitem_training.schema import Feature, RawFeature, SessionSchema

if TYPE_CHECKING:  # seconds, which the process that deals the tests out need not wait for
    import torch

    from nextitem_training.offline import OfflinePredictor
    from nextitem_training.run_directory import RunDirectory
    from nextitem_training.train import TrainingResult

ITEMS = 12
WINDOW = 5


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Models this small take many times as long where threads wait for each other."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(autouse=True)
def seeded() -> None:
    """Random inputs are the same whichever tests ran before, in whichever process."""
    import torch

    torch.manual_seed(0)


@pytest.fixture(scope="session")
def clicks() -> pd.DataFrame:
    """Interactions with nulls in every feature but the item, and times that tie."""
    random = np.random.default_rng(0)
    rows = []
    for session in range(400):
        length = int(random.integers(1, 10))
        first = int(random.integers(ITEMS))
        start = pd.Timestamp("2024-03-01") + pd.Timedelta(hours=session)
        for step in range(length):
            item = (first + step) % ITEMS
            rows.append(
                {
                    "session_id": f"s{session}",
                    "item_id": f"i{item:02d}",
                    "timestamp": start + pd.Timedelta(minutes=step // 2),
                    "brand": ["north", "south", "", None][item % 4],
                    "shop": [7, None, 2**60 + 1][item % 3],
                    "price": [1.5, None, 20.0][item % 3],
                    "clicks": item,
                }
            )
    frame = pd.DataFrame(rows)
    frame["shop"] = pd.array([row["shop"] for row in rows], dtype="Int64")
    frame["price"] = frame["price"].astype("float32")
    return frame


@pytest.fixture(scope="session")
def clicks_path(clicks: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("data") / "clicks.parquet"
    clicks.to_parquet(path)
    return path


@pytest.fixture(scope="session")
def config() -> Config:
    return config_from(
        {
            "data": {
                "categorical": ["brand", "shop"],
                "log_continuous": ["price"],
                "continuous": ["clicks"],
                "time_features": ["weekday", "hour"],
                "window": WINDOW,
                "holdout_days": 3,
                "sample_sessions": 40,
            },
            "model": {
                "d_model": 16,
                "heads": 2,
                "layers": 1,
                "dropout": 0.0,
                "layer_norm_eps": 1e-6,
                "initializer_range": 0.1,
                "side_width": 4,
                "normalize": True,
                "temperature": 0.1,
            },
            "training": {"epochs": 12, "batch_size": 32, "learning_rate": 1e-2},
        }
    )


@pytest.fixture(scope="session")
def trained(clicks_path: Path, config: Config, tmp_path_factory: pytest.TempPathFactory) -> TrainingResult:
    from nextitem_training.train import train_run

    return train_run(clicks_path, config, tmp_path_factory.mktemp("runs") / "small")


@pytest.fixture(scope="session")
def run(trained: TrainingResult) -> RunDirectory:
    return trained.run


@pytest.fixture(scope="session")
def predictor(run: RunDirectory) -> OfflinePredictor:
    from nextitem_training.offline import OfflinePredictor

    return OfflinePredictor(run)


@pytest.fixture(scope="session")
def schema() -> SessionSchema:
    """A schema without data behind it, for tests of the model alone."""
    return SessionSchema(
        window=WINDOW,
        session_column="session_id",
        time_column="timestamp",
        tie_breaker_column="row_position",
        item_column="item_id",
        item_feature="item_id",
        raw_features=(RawFeature("item_id", "int64"), RawFeature("timestamp", "datetime")),
        features=(
            Feature("item_id", "int64", "categorical", 20, ("categorical", "item_id")),
            Feature("weekday", "int64", "categorical", 10, ("categorical",)),
            Feature("price", "float32", "continuous", None, ("continuous",)),
        ),
    )


@pytest.fixture
def batch_of(schema: SessionSchema):
    """Makes random features [B, T] of sessions of the given lengths, right-padded with 0."""
    import torch

    def make(lengths: list[int], steps: int, seed: int = 0) -> dict[str, torch.Tensor]:
        random = torch.Generator().manual_seed(seed)
        real = torch.arange(steps)[None, :] < torch.tensor(lengths)[:, None]
        batch = {}
        for feature in schema.features:
            if feature.cardinality:
                shape = (len(lengths), steps)
                values = torch.randint(1, feature.cardinality, shape, generator=random)
            else:
                values = torch.randn(len(lengths), steps, generator=random)
            batch[feature.name] = values * real
        return batch

    return make
