"""Heads from the data to the run directory and its answers."""

import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from nextitem_training import workflow
from nextitem_training.config import HeadConfig
from nextitem_training.errors import DataError
from nextitem_training.interactions import read_interactions
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from nextitem_training.schema import HeadOutput
from nextitem_training.special_ids import LOWEST_SCORE
from nextitem_training.train import train_run

BOUGHT = HeadConfig("bought", "binary", "is_bought")
SECONDS = HeadConfig("seconds", "regression", "dwell", hidden=8)


@pytest.fixture(scope="module")
def watched(clicks, tmp_path_factory):
    """Items whose number is a multiple of 3 are bought; an item is looked at for 100 seconds times its number; some is null."""
    number = clicks["item_id"].str[1:].astype(int)
    frame = clicks.assign(is_bought=(number % 3 == 0).astype("boolean"), dwell=100.0 * number)
    unknown = np.random.default_rng(1).random((2, len(frame))) < 0.2
    frame.loc[unknown[0], "is_bought"] = pd.NA
    frame.loc[unknown[1], "dwell"] = np.nan
    path = tmp_path_factory.mktemp("data") / "watched.parquet"
    frame.to_parquet(path)
    return path


@pytest.fixture(scope="module")
def with_heads(config):
    data = dataclasses.replace(config.data, targets=("is_bought", "dwell"))
    return dataclasses.replace(config, data=data, heads=(BOUGHT, SECONDS))


@pytest.fixture(scope="module")
def result(watched, with_heads, tmp_path_factory):
    return train_run(watched, with_heads, tmp_path_factory.mktemp("runs") / "heads")


@pytest.fixture(scope="module")
def predictor(result):
    return OfflinePredictor(result.run)


def session_of(items):
    number = [int(item[1:]) % 12 for item in items]
    columns = {
        "session_id": "a",
        "item_id": items,
        "timestamp": pd.Timestamp("2024-03-20"),
        "brand": [["north", "south", "", None][n % 4] for n in number],
        "shop": pd.array([[7, None, 2**60 + 1][n % 3] for n in number], dtype="Int64"),
        "price": [[1.5, None, 20.0][n % 3] for n in number],
        "clicks": number,
    }
    return pd.DataFrame(columns)


def test_the_schema_tells_heads_and_asks_nobody_for_targets(result, with_heads):
    schema = RunDirectory.open(result.run.path).schema
    assert schema.heads == (HeadOutput("bought", "binary", 1), HeadOutput("seconds", "regression", 1))
    assert not {"is_bought", "dwell"} & {*schema.raw_dtypes, *schema.feature_names}
    assert result.run.load_model().head_widths == {head.name: head.width for head in schema.heads}
    assert result.run.config == with_heads


def test_the_served_workflow_runs_without_targets(result):
    served = result.run.load_workflow()
    assert b"dwell" not in (result.run.path / "workflow" / "workflow.pkl").read_bytes()
    sample = result.run.sample()
    assert not {"is_bought", "dwell"} & {*served.input_schema.column_names, *served.output_schema.column_names}
    assert not {"is_bought", "dwell"} & set(sample.columns)
    encoded = workflow.encode(served, sample, result.run.schema)
    assert len(encoded) == sample["session_id"].nunique()


def test_whole_sessions_have_targets_in_the_order_of_the_features(watched, with_heads, tmp_path):
    frame, dtypes = read_interactions(watched, with_heads.data)
    fitted = workflow.fit(frame, with_heads.data, tmp_path)
    schema = workflow.describe(fitted.served, with_heads.data, dtypes, with_heads.heads)
    encoded = workflow.encode(
        fitted.whole, frame.sample(frac=1, random_state=0), schema, targets=with_heads.data.targets
    )
    items = workflow.vocabulary(fitted.served, "item_id").values[encoded.features["item_id"] - 3]
    number = np.array([int(item[1:]) for item in items])
    for name, expected in (("dwell", 100.0 * number), ("is_bought", (number % 3 == 0).astype(float))):
        values = encoded.features[name]
        assert values.dtype == np.float32
        null = np.isnan(values)
        assert 0.1 < null.mean() < 0.3
        np.testing.assert_array_equal(values[~null], expected[~null])


def test_both_heads_learn_the_known_pattern(result):
    """The next item follows from the last one, and with it both columns."""
    measures = result.run.metrics()["heads"]
    assert measures["bought"]["auc"] > 0.9, measures
    assert measures["seconds"]["rmse"] < 0.6 * measures["seconds"]["rmse_of_training_mean"], measures
    assert 0.2 < measures["bought"]["positives"] < 0.5
    assert 0 < measures["bought"]["sessions"] <= result.run.metrics()["held_out_sessions"]


def test_answers_carry_the_heads_predictions_of_the_next_interaction(predictor, result):
    sessions = pd.concat([session_of([f"i{i:02d}", f"i{i + 1:02d}"]).assign(session_id=i) for i in range(8)])
    answer = predictor.predict(sessions, 2)
    assert {name: (values.shape, values.dtype) for name, values in answer.heads.items()} == {
        "bought": ((8, 1), np.float32),
        "seconds": ((8, 1), np.float32),
    }
    likely = answer.heads["bought"][:, 0]
    assert likely[[1, 4, 7]].min() > likely[[0, 2, 3, 5, 6]].max()  # what follows are items 3, 6 and 9
    assert np.corrcoef(answer.heads["seconds"][:, 0], np.arange(2, 10))[0, 1] > 0.8
    encoded = workflow.encode(result.run.load_workflow(), predictor._rows(sessions, None)[0], result.run.schema)
    features = {name: torch.from_numpy(values.reshape(8, 2)) for name, values in encoded.features.items()}
    with torch.no_grad():
        _, heads = result.run.load_model().query_and_heads(features)
    for name, values in heads.items():
        np.testing.assert_allclose(answer.heads[name], values, rtol=1e-5)


def test_a_head_says_nothing_of_cold_and_empty_sessions(predictor):
    rows = pd.concat([session_of(["x99"]), session_of(["i01"]).assign(session_id="b")])
    answer = predictor.predict(rows, 1, session_ids=["a", "none", "b"])
    assert answer.status == ["cold", "empty", "ok"]
    for values in answer.heads.values():
        assert (values[:2] == np.float32(LOWEST_SCORE)).all()
        assert values[2] != np.float32(LOWEST_SCORE)
    assert all(values.shape == (0, 1) for values in predictor.predict(rows.iloc[:0], 1).heads.values())


def test_a_binary_head_of_another_column_is_refused_before_training(watched, with_heads, tmp_path):
    wrong = dataclasses.replace(with_heads, heads=(dataclasses.replace(BOUGHT, column="dwell"),))
    with pytest.raises(DataError, match=r"'dwell' holds .* neither 0 nor 1"):
        train_run(watched, wrong, tmp_path / "run")
    assert not (tmp_path / "run").exists()
