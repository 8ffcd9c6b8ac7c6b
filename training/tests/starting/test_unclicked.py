import dataclasses

import numpy as np
import pandas as pd
import pytest
import torch

from nextitem_training.config import Config, DataConfig, InputsConfig, ItemsConfig, ModelConfig
from nextitem_training.data.split import Split
from nextitem_training.interactions import read_interactions
from nextitem_training.items.catalogue import FittedItems
from nextitem_training.items.table import read_items
from nextitem_training.loop.trainer import new_model
from nextitem_training.starting.encoding import fit_and_encode
from nextitem_training.starting.preparation import prepare
from nextitem_training.starting.unclicked import with_unclicked
from nextitem_training.tables.vectors import PretrainedVectors
from nextitem_training.workflow import vocabulary

CONFIG = Config(
    data=DataConfig(window=4, min_item_count=2),
    items=ItemsConfig(categorical=("kind",), cold_start=True),
    model=ModelConfig(d_model=8, heads=2, body="gru4rec", pretraining="clm", item_bias=True, initializer_range=0.2),
    inputs=InputsConfig(pretrained_items="texts.npz", pretrained_width=2, pretrained_as="item"),
)
PRETRAINED = PretrainedVectors(
    "texts.npz", np.array(["a", "new"], dtype=object), np.array([[1, 2], [3, 4]], dtype=np.float32)
)


@pytest.fixture
def before(tmp_path):
    """A model of two items, a third that is too rare, and a table that has two more."""
    rows = [("s", "a"), ("s", "b"), ("s", "a"), ("t", "b"), ("t", "a"), ("t", "rare")]
    frame = pd.DataFrame(rows, columns=["session_id", "item_id"])
    frame["timestamp"] = pd.Timestamp("2024-01-01") + pd.to_timedelta(range(6), unit="h")
    frame.to_parquet(tmp_path / "clicks.parquet")
    pd.DataFrame({"item_id": ["new", "a", "rare", "other"], "kind": ["x", "x", "y", "x"]}).to_parquet(
        tmp_path / "items.parquet"
    )
    frame, dtypes = read_interactions(tmp_path / "clicks.parquet", CONFIG.data)
    table = read_items(tmp_path / "items.parquet", CONFIG, "string")
    storage = tmp_path / "storage"
    storage.mkdir()
    encoded = fit_and_encode(Split(frame, frame.iloc[:0], frame), dtypes, CONFIG, storage)
    items = vocabulary(encoded.fitted.served, "item_id")
    fitted = FittedItems.fit(table, items.values, CONFIG.items, storage / "items")
    encoded = dataclasses.replace(encoded, schema=fitted.described(encoded.schema))
    model = new_model(encoded.schema, CONFIG)
    prepare(model, encoded.training, items, CONFIG, PRETRAINED)
    fitted.fill(model, items.values)
    torch.nn.init.normal_(model.item_bias)
    return model.eval(), encoded, fitted, frame


def test_they_come_behind_all_others_with_their_content_and_nothing_of_their_own(before, tmp_path):
    model, encoded, fitted, held_out = before
    larger, extended = with_unclicked(
        model, encoded, fitted, CONFIG, held_out, tmp_path / "storage" / "longer", pretrained=PRETRAINED
    )
    values = vocabulary(extended.fitted.served, "item_id").values
    assert values.tolist() == ["a", "b", "new", "rare", "other"]
    assert extended.counts.tolist() == [3, 2, 0, 0, 0]
    assert extended.schema.item_count == 8
    assert not larger.training

    with torch.no_grad():
        for part in ("item_table", "id_table"):
            torch.testing.assert_close(getattr(larger, part)()[:5], getattr(model, part)()[:5])
        assert not larger.inputs.embeddings[0].weight[5:].any()
        assert larger.inputs.pretrained.vectors[3:].tolist() == [[1, 2], [0, 0], [3, 4], [0, 0], [0, 0]]
        table = larger.item_table()
        torch.testing.assert_close(table[5:, -1], model.item_bias[3:].mean().expand(3))
        torch.testing.assert_close(table[7, :-1], larger.content.table()[7])
        torch.testing.assert_close(larger.content.table()[7], larger.content.table()[3])  # of one kind

    # What was held out knows them now.
    assert encoded.held_out.features["item_id"].tolist()[-1] == 2
    assert extended.held_out.features["item_id"].tolist()[-1] == 6


def test_nothing_changes_where_all_of_the_table_was_clicked(before, tmp_path):
    model, encoded, fitted, held_out = before
    table = dataclasses.replace(fitted.table, frame=fitted.table.frame.iloc[1:2].reset_index(drop=True))
    same = with_unclicked(
        model, encoded, dataclasses.replace(fitted, table=table), CONFIG, held_out, tmp_path / "storage" / "longer"
    )
    assert same == (model, encoded)
