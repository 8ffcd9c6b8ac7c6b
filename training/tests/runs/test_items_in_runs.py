"""An items table, from the demo's clicks to the run directory and on to the next run."""

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import torch

from nextitem_training import cli, workflow
from nextitem_training.config import Config, DataConfig, ItemsConfig, ModelConfig, TrainingConfig
from nextitem_training.errors import ConfigError, RunDirectoryError
from nextitem_training.incremental import Windows, train_windows
from nextitem_training.items.encodings import Categories
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from nextitem_training.starting.warm_start import WarmStart
from nextitem_training.train import train_run

CLICKS = Path(__file__).parents[3] / "demo" / "clicks.parquet"
CONFIG = Config(
    data=DataConfig(categorical=("country",), window=8, holdout_days=4, sample_sessions=20),
    items=ItemsConfig(
        categorical=("category", "colour"),
        log_continuous=("price",),
        multi_hot=("places",),
        vectors="look",
        title="title",
        cold_start=True,
    ),
    model=ModelConfig(
        body="gru4rec",
        pretraining="clm",
        d_model=32,
        heads=2,
        layers=1,
        dropout=0.1,
        initializer_range=0.05,
        normalize=True,
        temperature=0.07,
        item_bias=True,
    ),
    training=TrainingConfig(epochs=4, batch_size=64, learning_rate=1e-2),
)


def items_of(clicks):
    """What the clicks themselves say of each item."""
    items = clicks.groupby("item_id", as_index=False).agg(
        category=("category", "first"),
        colour=("colour", "first"),
        price=("price", "mean"),
        places=("location", lambda values: sorted(set(values))),
    )
    items["look"] = [list(np.eye(3, dtype=np.float32)[len(name) % 3]) for name in items["item_id"]]
    items["title"] = items["item_id"] + ", " + items["category"] + ", " + items["colour"]
    return items


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The last of the clicks, without those on a seventh of the items until the days that are held out."""
    folder = tmp_path_factory.mktemp("items")
    clicks = pd.read_parquet(CLICKS)
    clicks = clicks[clicks["session_id"].isin(clicks["session_id"].unique()[-1500:])].reset_index(drop=True)
    items = items_of(clicks)
    hidden = items["item_id"][::7]
    before = clicks["timestamp"] <= clicks["timestamp"].max() - pd.Timedelta(days=4)
    clicks = clicks[~(before & clicks["item_id"].isin(hidden))]
    clicks[["session_id", "item_id", "timestamp", "country"]].to_parquet(folder / "clicks.parquet")
    items.to_parquet(folder / "items.parquet")
    return folder, items, set(hidden)


@pytest.fixture(scope="module")
def run(shop):
    folder, _, _ = shop
    return train_run(folder / "clicks.parquet", CONFIG, folder / "run", items=folder / "items.parquet").run


@pytest.fixture(scope="module")
def predictor(run):
    return OfflinePredictor(run)


def session_of(items):
    times = pd.Timestamp("2008-08-13") + pd.to_timedelta(range(len(items)), unit="s")
    return pd.DataFrame({"session_id": 1, "item_id": items, "timestamp": times, "country": 29})


def test_the_catalogue_is_all_of_the_table(run, shop, predictor):
    _, items, hidden = shop
    assert set(predictor.item_ids[3:]) == set(items["item_id"])
    assert run.schema.item_count == len(items) + 3 == len(run.load_model().item_table())
    found = workflow.vocabulary(run.load_workflow(), "item_id")
    assert set(found.values[found.counts == 0]) == hidden == set(found.values[-len(hidden) :])
    report = run.metrics()
    assert report["items"] == {
        "rows": len(items),
        "clicked": len(items) - len(hidden),
        "clicked_without_row": 0,
        "added": len(hidden),
    }
    assert report["metrics"]["model"]["recall@20"] > report["metrics"]["co-occurrence"]["recall@20"] - 0.05


def test_an_item_that_training_never_saw_is_recommended_and_understood(run, predictor, shop):
    hidden = sorted(shop[2])
    model = run.load_model()
    codes = [list(predictor.item_ids).index(item) for item in hidden]
    assert not model.id_table()[codes].any()
    assert model.content.table()[codes].any(dim=1).all()
    torch.testing.assert_close(model.item_bias[codes], model.item_bias[3 : min(codes)].mean().expand(len(codes)))
    answer = predictor.predict(session_of(hidden[:3]), 20)
    assert answer.status == ["ok"]
    found = predictor.predict(run.sample(), 20)
    assert set(np.unique(found.item_ids)) & set(hidden)
    cold = predictor.predict(session_of(["no such item"]), 300)
    assert cold.status == ["cold"]
    listed = [item for item in cold.item_ids[0] if item]
    assert len(listed) == len(predictor.item_ids) - 3
    assert set(listed[-len(hidden) :]) == set(hidden)  # behind all that somebody clicked


def test_the_run_holds_the_table_and_its_workflow_and_no_path(run, shop, tmp_path):
    folder, items, _ = shop
    shutil.copytree(run.path, tmp_path / "moved")
    moved = RunDirectory.open(tmp_path / "moved")
    for file in moved.path.rglob("*"):
        assert not file.is_file() or str(folder).encode() not in file.read_bytes(), file.name
    assert moved.config.items == dataclasses.replace(CONFIG.items, vectors_width=3)
    kept = moved.items()
    assert kept.column_names == ["item_id", "category", "colour", "places", "price", "title", "look"]
    assert kept["title"].to_pylist() == items["title"].tolist()
    assert kept.schema.field("look").type == pa.list_(pa.float32())
    sample = moved.sample()
    assert set(sample.columns) == {"session_id", "item_id", "timestamp", "country", "row_position"}
    answers = [OfflinePredictor(one).predict(sample, 5) for one in (run, moved)]
    np.testing.assert_array_equal(answers[0].scores, answers[1].scores)


def test_its_encodings_are_those_of_the_models_tables(run):
    kept, model, encodings = run.items().to_pandas(), run.load_model(), run.item_encodings()
    ids = list(workflow.vocabulary(run.load_workflow(), "item_id").values)
    kept = kept.set_index("item_id").loc[ids]
    assert [one.name for one in encodings] == [one.name for one in run.schema.items.attributes]
    category, colour, places, price = encodings

    def codes(values, encoding):
        assert isinstance(encoding, Categories)
        return [3 + list(encoding.values).index(value) if value in encoding.values else 2 for value in values]

    assert model.content.codes[3:, 0].tolist() == codes(kept["category"], category)
    assert model.content.codes[3:, 1].tolist() == codes(kept["colour"], colour)
    for row, listed in zip(model.content.bags[0][3:].tolist(), kept["places"], strict=True):
        assert [code for code in row if code] == codes(listed, places)
    expected = (np.log1p(kept["price"].to_numpy()) - price.mean) / price.std
    np.testing.assert_allclose(model.content.numbers[3:, 0], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(model.content.vectors[3:], np.stack(kept["look"]))


def test_a_part_that_is_missing_is_named(run, tmp_path):
    shutil.copytree(run.path, tmp_path / "copy")
    shutil.rmtree(tmp_path / "copy" / "items_workflow")
    (tmp_path / "copy" / "items.parquet").unlink()
    with pytest.raises(RunDirectoryError, match=r"items.parquet, items_workflow is missing"):
        RunDirectory.open(tmp_path / "copy")


@pytest.fixture(scope="module")
def continued(shop, run):
    """Continued without a step worth the name, where a category is rarer than it was and one hidden item has been clicked."""
    folder, items, hidden = shop
    (folder / "later").mkdir()
    clicks = pd.read_parquet(folder / "clicks.parquet")
    new = sorted(hidden)[0]
    known = items[~items["item_id"].isin(hidden)]
    gone = known["item_id"][known["category"] == "trousers"].tolist()[1:]
    fresh = clicks[clicks["item_id"] == "B4"].assign(item_id="brand new")
    clicks = pd.concat([clicks[~clicks["item_id"].isin(gone)], fresh], ignore_index=True)
    clicks.loc[clicks.index[:40:2], "item_id"] = new
    table = pd.concat([items[~items["item_id"].isin(gone)], items.head(1).assign(item_id="brand new")])
    table["look"] = [[1.0, 2.0, 3.0]] * len(table)
    clicks.to_parquet(folder / "later" / "clicks.parquet")
    table.to_parquet(folder / "later" / "items.parquet")
    still = dataclasses.replace(CONFIG.training, epochs=1, learning_rate=1e-12)
    config = dataclasses.replace(CONFIG, training=still)
    later = folder / "later"
    return train_run(
        later / "clicks.parquet", config, later / "run", items=later / "items.parquet", init_from=run.path
    ).run


def test_a_warm_start_carries_attributes_by_value_and_takes_the_new_runs_table(run, continued):
    before, after = run.load_model(), continued.load_model()
    old, new = run.item_encodings(), continued.item_encodings()
    assert old[0].values.tolist() != new[0].values.tolist()
    for place in range(2):
        rows = [one.content.embeddings[place].weight for one in (before, after)]
        for code, value in enumerate(new[place].values):
            was = old[place].values.tolist().index(value)
            torch.testing.assert_close(rows[1][3 + code], rows[0][3 + was], atol=1e-6, rtol=0)
    torch.testing.assert_close(after.content.projection.weight, before.content.projection.weight, atol=1e-6, rtol=0)
    assert (after.content.vectors[3:] == torch.tensor([1.0, 2, 3])).all()
    ids = [list(workflow.vocabulary(one.load_workflow(), "item_id").values) for one in (run, continued)]
    for item in ids[1]:
        row = after.id_table()[3 + ids[1].index(item)]
        expected = before.id_table()[3 + ids[0].index(item)] if item in ids[0] else torch.zeros(32)
        torch.testing.assert_close(row, expected, atol=1e-6, rtol=0)


def test_another_content_is_refused_with_what_differs(run, shop):
    for items, sentence in (
        (ItemsConfig(), r"items is \('category', 'colour', 'places', 'price', 'content vectors'\) there and \(\) here"),
        (dataclasses.replace(CONFIG.items, vectors=""), r"there and \('category', 'colour', 'places', 'price'\) here"),
    ):
        with pytest.raises(ConfigError, match=sentence):
            WarmStart(run.path, dataclasses.replace(CONFIG, items=items))


def test_time_windows_go_on_with_items_that_were_added(shop):
    folder, items, hidden = shop
    config = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, epochs=1))
    found = train_windows(
        folder / "clicks.parquet", config, folder / "windows", Windows(2), items=folder / "items.parquet"
    )
    runs = [RunDirectory.open(folder / "windows" / name) for name in found if name != "mean"]
    assert len(runs) == 2
    assert all(one.schema.item_count == len(items) + 3 for one in runs)
    assert runs[1].metrics()["init_from"]["carried"] > len(items) - len(hidden)


def test_the_command_takes_a_table_of_csv(shop, tmp_path, capsys):
    folder, items, _ = shop
    items[["item_id", "category", "price"]].to_csv(tmp_path / "items.csv", index=False)
    (tmp_path / "config.toml").write_text(
        """
        [data]
        holdout_days = 4
        [items]
        categorical = ["category"]
        continuous = ["price"]
        [model]
        body = "gru4rec"
        pretraining = "clm"
        d_model = 8
        heads = 2
        [training]
        epochs = 1
        """
    )
    command = ["--data", str(folder / "clicks.parquet"), "--config", str(tmp_path / "config.toml"), "--quiet"]
    command += ["--output", str(tmp_path / "run")]
    assert cli.main(command) == 2
    assert "[items] is set, but no items table is given; name it with --items" in capsys.readouterr().err
    assert cli.main([*command, "--items", str(tmp_path / "items.csv")]) == 0
    run = RunDirectory.open(tmp_path / "run")
    assert run.metrics()["items"]["added"] == 0
    assert run.schema.item_count < len(items) + 3
    assert [one.name for one in run.schema.items.attributes] == ["category", "price"]
