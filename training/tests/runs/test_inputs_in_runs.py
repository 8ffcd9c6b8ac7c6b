"""Inputs, item bias, heads and a sampled loss together, from the data to the run directory and on to the next run."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import torch

from nextitem_training import workflow
from nextitem_training.config import HeadConfig, InputsConfig, LossConfig
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from nextitem_training.starting.warm_start import WarmStart
from nextitem_training.train import train_run

WIDTH = 7


@pytest.fixture(scope="module")
def folder(clicks, tmp_path_factory):
    """Interactions with a target, and vectors of all items but i05, one of them of an item that nobody clicked."""
    folder = tmp_path_factory.mktemp("inputs")
    clicks.assign(late=clicks["clicks"] >= 6).to_parquet(folder / "clicks.parquet")
    ids = np.array([f"i{i:02d}" for i in range(12) if i != 5] + ["i99"])
    np.savez(folder / "items.npz", ids=ids, vectors=np.random.default_rng(0).standard_normal((12, WIDTH)))
    return folder


@pytest.fixture(scope="module")
def everything(config, folder):
    return dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, targets=("late",)),
        model=dataclasses.replace(config.model, item_bias=True),
        inputs=InputsConfig(
            aggregation="sum",
            soft_one_hot=("clicks",),
            swap_noise=0.05,
            layer_norm=True,
            pretrained_items=str(folder / "items.npz"),
            pretrained_as="item",
            pretrained_frozen=False,
        ),
        heads=(HeadConfig("late", "binary", "late"), HeadConfig("how_late", "regression", "late")),
        loss=LossConfig(kind="sampled-softmax", sampling="popularity", negatives=64),
    )


@pytest.fixture(scope="module")
def full(folder, everything):
    return train_run(folder / "clicks.parquet", everything, folder / "run").run


def test_the_pattern_is_learnt(full):
    assert full.metrics()["metrics"]["model"]["mrr@10"] > 0.8
    assert full.metrics()["heads"]["late"]["auc"] > 0.9


def test_the_run_directory_needs_no_vectors_beside_it(full, everything, folder, tmp_path):
    shutil.copytree(full.path, tmp_path / "moved")
    moved = RunDirectory.open(tmp_path / "moved")
    kept = dataclasses.replace(everything.inputs, pretrained_items="items.npz", pretrained_width=WIDTH)
    assert moved.config == dataclasses.replace(everything, inputs=kept)
    for file in moved.path.rglob("*"):
        assert not file.is_file() or str(folder).encode() not in file.read_bytes(), file.name
    sample = moved.sample()
    answers = [OfflinePredictor(run).predict(sample, 5) for run in (full, moved)]
    np.testing.assert_array_equal(answers[0].scores, answers[1].scores)
    for name in ("late", "how_late"):
        np.testing.assert_array_equal(answers[0].heads[name], answers[1].heads[name])


def test_vectors_stand_with_their_items(full, folder):
    model = full.load_model()
    with np.load(folder / "items.npz") as file:
        by_id = dict(zip(file["ids"].tolist(), file["vectors"], strict=True))
    items = workflow.vocabulary(full.load_workflow(), "item_id").values
    rows = model.inputs.pretrained.vectors.detach().numpy()
    assert rows.shape == (len(items) + 3, WIDTH)
    for item, row in zip(items, rows[3:], strict=True):  # trained since, but not far
        np.testing.assert_allclose(row, by_id.get(item, np.zeros(WIDTH)), atol=0.6)
    assert (
        np.corrcoef(rows[3:].ravel(), np.concatenate([by_id.get(item, np.zeros(WIDTH)) for item in items]))[0, 1] > 0.9
    )


def test_scores_are_the_query_times_the_table_also_when_folded(full):
    model, folded = full.load_model(), full.load_model().fold()
    features = {
        feature.name: torch.ones(1, 3, dtype=getattr(torch, feature.dtype)) * 4 for feature in full.schema.features
    }
    with torch.no_grad():
        scores = model.query(features) @ model.item_table().T
        assert model.item_table().shape[1] == 17
        torch.testing.assert_close(folded.query(features) @ folded.item_table().T, scores, atol=1e-4, rtol=1e-4)
        for name, values in model.query_and_heads(features)[1].items():
            torch.testing.assert_close(folded.query_and_heads(features)[1][name], values, atol=1e-4, rtol=1e-4)


@pytest.fixture(scope="module")
def continued(folder, everything, full):
    """Continued without a step worth the name, with heads in another order, one of them new, and without item i03."""
    frame = pd.read_parquet(folder / "clicks.parquet")
    (folder / "later").mkdir()
    frame[frame["item_id"] != "i03"].to_parquet(folder / "later" / "clicks.parquet")
    still = dataclasses.replace(everything.training, epochs=1, learning_rate=1e-12)
    heads = (HeadConfig("other", "binary", "late"), everything.heads[1])
    config = dataclasses.replace(everything, training=still, heads=heads)
    return train_run(folder / "later" / "clicks.parquet", config, folder / "later" / "run", init_from=full.path).run


def test_a_warm_start_carries_bias_and_vectors_by_raw_id_and_heads_by_name(full, continued):
    before, after = full.load_model(), continued.load_model()
    items = [list(workflow.vocabulary(run.load_workflow(), "item_id").values) for run in (full, continued)]
    assert "i03" in items[0]
    assert "i03" not in items[1]
    for item in items[1]:
        old, new = 3 + items[0].index(item), 3 + items[1].index(item)
        torch.testing.assert_close(after.item_bias[new], before.item_bias[old])
        torch.testing.assert_close(after.inputs.pretrained.vectors[new], before.inputs.pretrained.vectors[old])
    kept = before.heads[1].state_dict()
    assert all(torch.allclose(value, kept[name], atol=1e-6) for name, value in after.heads[1].state_dict().items())
    assert not torch.allclose(after.heads[0].output.weight, before.heads[0].output.weight, atol=1e-3)  # another name
    assert continued.metrics()["init_from"]["carried"] == 11


def test_frozen_vectors_are_those_that_the_new_run_was_given(folder, everything, full, tmp_path):
    np.savez(tmp_path / "new.npz", ids=np.array(["i07"]), vectors=np.full((1, WIDTH), 9.0))
    inputs = dataclasses.replace(
        everything.inputs, pretrained_items=str(tmp_path / "new.npz"), pretrained_frozen=True, swap_noise=0.0
    )
    once = dataclasses.replace(everything.training, epochs=1)
    config = dataclasses.replace(everything, inputs=inputs, training=once)
    run = train_run(folder / "clicks.parquet", config, tmp_path / "run", init_from=full.path).run
    rows = run.load_model().inputs.pretrained.vectors
    place = 3 + list(workflow.vocabulary(run.load_workflow(), "item_id").values).index("i07")
    assert (rows[place] == 9).all()
    assert rows.count_nonzero() == WIDTH


@pytest.mark.parametrize(
    ("table", "setting", "sentence"),
    [
        ("inputs", {"aggregation": "concat"}, "aggregation is 'sum' there and 'concat' here"),
        ("inputs", {"soft_one_hot": ()}, r"soft_one_hot is \('clicks',\) there and \(\) here"),
        ("inputs", {"layer_norm": False}, "layer_norm is True there and False here"),
        ("inputs", {"pretrained_width": 3}, f"pretrained_width is {WIDTH} there and 3 here"),
        ("inputs", {"pretrained_as": "input"}, "pretrained_as is 'item' there and 'input' here"),
        ("model", {"item_bias": False}, "item_bias is True there and False here"),
    ],
)
def test_what_decides_which_weights_there_are_has_to_be_the_same(full, table, setting, sentence):
    other = dataclasses.replace(full.config, **{table: dataclasses.replace(getattr(full.config, table), **setting)})
    with pytest.raises(ConfigError, match=sentence):
        WarmStart(full.path, other)


def test_vectors_that_cannot_be_read_are_refused_before_the_work_begins(everything, tmp_path):
    wrong = dataclasses.replace(everything, inputs=dataclasses.replace(everything.inputs, pretrained_items="none.npz"))
    with pytest.raises(DataError, match=r"none.npz cannot be read"):
        train_run("no such data", wrong, tmp_path / "run")
