import dataclasses

import pandas as pd
import pytest

from nextitem_training.config import DataConfig, HeadConfig, config_from
from nextitem_training.data.given import GivenFiles
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.train import train_run

DATA = DataConfig(continuous=("price",), targets=("bought",))
DTYPES = {"item_id": "int64", "timestamp": "datetime", "price": "float32", "bought": "float32", "session_id": "string"}


def rows(**columns):
    frame = pd.DataFrame(
        {
            "item_id": [1, 2, 3],
            "timestamp": pd.to_datetime(["2024-01-01", "2024-01-02", "2024-01-01"]),
            "price": [1.5, 2.0, 3.0],
            "bought": [0, 1, 0],
            "session_id": ["a", "a", "b"],
        }
    )
    return frame.assign(**columns)


def read(frame, tmp_path, heads=()):
    frame.to_parquet(tmp_path / "test.parquet")
    return GivenFiles(test=tmp_path / "test.parquet").read(DATA, DTYPES, heads)


def test_whole_numbers_become_the_floats_that_training_has(tmp_path):
    given = read(rows(price=[1, 2, 3]), tmp_path)
    assert given.validation is None
    assert given.held_out["price"].dtype == "float32"
    assert given.held_out["row_position"].tolist() == [0, 1, 2]


def test_ids_are_of_the_type_that_training_has(tmp_path):
    path = tmp_path / "test.csv"
    rows(session_id=[7, 7, 8]).to_csv(path, index=False)  # by itself this file would have integers
    given = GivenFiles(test=path).read(DATA, DTYPES).held_out
    assert given["session_id"].tolist() == ["7", "7", "8"]
    assert given["item_id"].tolist() == [1, 2, 3]


@pytest.mark.parametrize(
    ("frame", "sentence"),
    [
        (
            rows(item_id=["1", "2", "x"]),
            "--test-data: .*item_id",
        ),
        (
            rows(session_id=["a", "b", "c"]),
            "--test-data: no session in .* has two interactions, .* Give whole sessions",
        ),
        (rows().drop(columns="price"), "--test-data: .*test.parquet has no column 'price'"),
        (rows(bought=[0, 2, 0]), "--test-data: Column 'bought' holds 2 in one of 1 rows"),
    ],
)
def test_what_cannot_be_used_is_told_with_its_option(frame, sentence, tmp_path):
    with pytest.raises(DataError, match=sentence):
        read(frame, tmp_path, [HeadConfig("buys", "binary", "bought")])


@pytest.mark.parametrize(
    ("settings", "files", "sentence"),
    [
        (
            {"data": {"validation_days": 1}},
            GivenFiles("v"),
            r"--validation-data is given, and \[data\] validation_days",
        ),
        (
            {"data": {"holdout": "last-interaction", "validation_interaction": True}},
            GivenFiles("v"),
            r"--validation-data is given, and \[data\] validation_interaction",
        ),
        ({"training": {"patience": 2}}, GivenFiles(), "patience is 2, but nothing is kept .* or set patience = 0"),
    ],
)
def test_one_validation_is_needed_and_one_only(settings, files, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence):
        train_run("no such data", config_from(settings), tmp_path / "run", given=files)


@pytest.mark.parametrize(
    ("settings", "files"),
    [
        ({"validation_days": 1}, GivenFiles()),
        ({"holdout": "last-interaction", "validation_interaction": True}, GivenFiles()),
        ({}, GivenFiles("v")),
    ],
)
def test_patience_goes_with_every_kind_of_validation(settings, files):
    files.check(config_from({"training": {"patience": 2}, "data": settings}))


@pytest.fixture(scope="module")
def small(config):
    """Columns without nulls in the given parts, so that their types are told from the training's by `conform` alone."""
    training = dataclasses.replace(config.training, epochs=2)
    return dataclasses.replace(config, training=training)


def test_given_files_give_the_run_that_the_split_gives(clicks, clicks_path, small, tmp_path):
    """The same rows, split here by hand: the same weights and figures."""
    by_days = train_run(
        clicks_path,
        dataclasses.replace(small, data=dataclasses.replace(small.data, validation_days=2)),
        tmp_path / "days",
    )
    cutoff = pd.Timestamp(by_days.run.metrics()["cutoff"])
    start = clicks.groupby("session_id")["timestamp"].transform("min")
    earlier = cutoff - pd.Timedelta(days=2)
    parts = {
        "training": clicks[(start <= earlier) & (clicks["timestamp"] <= earlier)],
        "validation": clicks[(start > earlier) & (start <= cutoff) & (clicks["timestamp"] <= cutoff)],
        "test": clicks[start > cutoff],
    }
    for name, part in parts.items():
        part.to_parquet(tmp_path / f"{name}.parquet")
    files = GivenFiles(tmp_path / "validation.parquet", tmp_path / "test.parquet")
    by_files = train_run(tmp_path / "training.parquet", small, tmp_path / "files", given=files)
    assert by_files.metrics == by_days.metrics
    assert by_files.run.metrics()["training"] == by_days.run.metrics()["training"]
    assert by_files.run.metrics()["held_out_sessions"] == by_days.run.metrics()["held_out_sessions"]
    assert "cutoff" not in by_files.run.metrics()
    sample = by_files.run.sample()
    pd.testing.assert_frame_equal(
        sample.drop(columns="row_position"), by_days.run.sample().drop(columns="row_position"), check_dtype=False
    )
    weights = [(found.run.path / "model.safetensors").read_bytes() for found in (by_days, by_files)]
    assert weights[0] == weights[1]
