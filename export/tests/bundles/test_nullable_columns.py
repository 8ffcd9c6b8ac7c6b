"""Integers and booleans with nulls, of which pandas makes Int64, from the interactions to the bundle."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from nextitem_export import export_bundle, export_run
from nextitem_training.config import config_from
from nextitem_training.run_directory import RunDirectory
from nextitem_training.train import train_run

SESSIONS = 150


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> RunDirectory:
    """A run whose columns of every part in training have nulls."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, 6, SESSIONS)
    session = np.repeat(np.arange(SESSIONS), lengths)
    step = np.concatenate([np.arange(length) for length in lengths])
    number = (session + step) % 7

    def with_nulls(values, dtype):
        column = pd.Series(values).astype(dtype)
        return column.mask(random.random(len(column)) < 0.2)

    frame = pd.DataFrame(
        {
            "session_id": session,
            "item_id": with_nulls(number, "Int64"),
            "timestamp": pd.Timestamp("2024-03-01") + pd.to_timedelta(session * 60 + step, "min"),
            "shop": with_nulls(number % 3 + 2**60, "Int64"),
            "new": with_nulls(number > 3, "boolean"),
            "brand": with_nulls([f"b{n % 2}" for n in number], "category"),
            "stock": with_nulls(number, "Int64"),
            "sold": with_nulls(number > 2, "boolean"),
            "clicks": with_nulls(number * 10, "Int64"),
        }
    )
    folder = tmp_path_factory.mktemp("nullable")
    frame.to_parquet(folder / "clicks.parquet")
    config = config_from(
        {
            "data": {
                "categorical": ["shop", "new", "brand"],
                "continuous": ["stock", "sold"],
                "log_continuous": ["clicks"],
                "window": 4,
                "holdout_days": 1,
            },
            "model": {"d_model": 8, "heads": 2, "layers": 1},
            "training": {"epochs": 1},
        }
    )
    return train_run(folder / "clicks.parquet", config, folder / "run").run


def test_a_run_of_nullable_columns_is_exported_and_every_session_is_judged(run, tmp_path):
    bundle = export_run(run.path, repository=tmp_path / "repository", name="shop")
    sample = bundle.parity[0]
    assert sample.case == "the sample"
    assert sample.judged == sample.sessions > 20


def test_a_sample_of_pandas_own_types_is_taken(run, tmp_path):
    sample = run.sample()
    sample["brand"] = sample["brand"].astype("category")
    sample["shop"] = sample["shop"].astype("category")
    sample["new"] = sample["new"].astype("boolean")
    schema = run.schema
    bundle = export_bundle(
        run.load_model().fold(),
        run.load_workflow(),
        sample,
        repository=tmp_path / "repository",
        name="shop",
        tie_breaker_column=schema.tie_breaker_column,
        features=schema.feature_names,
        raw_dtypes=schema.raw_dtypes,
    )
    assert bundle.parity[0].judged == bundle.parity[0].sessions
