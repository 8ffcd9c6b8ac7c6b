"""Whole runs whose sessions are all that a user does: the newest interaction is held out, the one before is for validation."""

import dataclasses

import pandas as pd
import pytest

from nextitem_training.config.heads import HeadConfig
from nextitem_training.offline import COLD, OK, OfflinePredictor
from nextitem_training.train import train_run
from nextitem_training.workflow import vocabulary

LEAST = 5


@pytest.fixture(scope="module")
def users(clicks):
    """Some have a rare item; every item was bought that is not a user's last."""
    frame = clicks.copy()
    longest = frame.groupby("session_id").size().idxmax()
    frame.loc[frame.index[frame["session_id"] == longest][:2], "item_id"] = "rare"
    order = frame.groupby("session_id").cumcount(ascending=False)
    return frame.assign(bought=(order > 0).astype(int) * (frame["clicks"] % 2))


@pytest.fixture(scope="module")
def run(users, config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("users")
    users.to_parquet(folder / "users.parquet")
    split = {
        "holdout": "last-interaction",
        "validation_interaction": True,
        "min_item_count": LEAST,
        "targets": ("bought",),
    }
    chosen = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, **split),
        heads=(HeadConfig("buys", "binary", "bought"),),
        training=dataclasses.replace(config.training, patience=3, metric="mrr@10"),
    )
    return train_run(folder / "users.parquet", chosen, folder / "run").run


def lengths_of(users):
    return users.groupby("session_id").size()


def test_every_user_of_two_is_judged_and_the_model_learns(run, users):
    metrics = run.metrics()
    assert metrics["held_out_sessions"] == (lengths_of(users) >= 2).sum()
    assert "cutoff" not in metrics
    assert metrics["training"]["validation"]["mrr@10"] > 0.6
    assert metrics["metrics"]["model"]["mrr@10"] > 0.6


def test_what_is_held_out_is_neither_counted_nor_learnt(run, users):
    items = vocabulary(run.load_workflow(), "item_id")
    lengths = users.groupby("session_id")["item_id"].transform("size")
    newer = users.groupby("session_id").cumcount(ascending=False)  # the rows stand in their order
    kept = (newer >= 2) | (lengths == 1) | ((lengths == 2) & (newer == 1))
    seen = users[kept]["item_id"].value_counts()
    assert dict(zip(items.values, items.counts, strict=True)) == seen[seen >= LEAST].to_dict()
    # At no user's last interaction was anything bought: there heads are judged, and that is not learnt from.
    assert run.metrics()["heads"]["buys"]["positives"] is None or run.metrics()["heads"]["buys"]["positives"] == 0


def test_a_rare_item_is_unknown_and_never_recommended(run, users):
    predictor = OfflinePredictor(run)
    row = users[users["item_id"] == "rare"].iloc[:1]
    known = users[users["item_id"] != "rare"].iloc[:1]
    answer = predictor.predict(pd.concat([row, known.assign(session_id="other")]), 20)
    assert answer.status == [COLD, OK]
    assert "rare" not in answer.item_ids


def test_the_sample_holds_whole_users_and_ones_of_one_interaction(run, users):
    found, whole = run.sample().groupby("session_id").size(), lengths_of(users)
    assert len(found) == 40
    assert (found == whole[found.index]).all()
    assert {1, found.max()} <= set(found)
    assert (found > run.schema.window).any()
    assert "bought" not in run.sample().columns
