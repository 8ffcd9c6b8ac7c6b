import dataclasses

import numpy as np
import pytest
import torch

from nextitem_training.config import Config, ModelConfig
from nextitem_training.items.catalogue import FittedItems, as_kept
from nextitem_training.items.table import read_items
from nextitem_training.model import SessionModel

IDS = np.array(["d", "b", "a"], dtype=object)


@pytest.fixture
def table(rows, items, tmp_path):
    rows.to_parquet(tmp_path / "items.parquet")
    return read_items(tmp_path / "items.parquet", Config(items=items), "string")


def test_a_model_is_filled_with_what_is_known_of_its_items(table, items, schema, tmp_path):
    fitted = FittedItems.fit(table, IDS, dataclasses.replace(items, vectors_width=2), tmp_path / "storage")
    values = np.array([f"i{i}" for i in range(16)] + ["d"], dtype=object)
    model = SessionModel(ModelConfig(d_model=16, heads=2), fitted.described(schema))
    fitted.fill(model, values)
    found = fitted.contents(values)
    assert torch.equal(model.content.codes, torch.from_numpy(found.codes))
    assert torch.equal(model.content.numbers, torch.from_numpy(found.numbers))
    assert torch.equal(model.content.vectors, torch.from_numpy(found.vectors))
    assert torch.equal(model.content.bags[0], torch.from_numpy(found.bags[0]))
    assert model.content.codes[19].tolist() == [3, 3]


def test_items_that_nobody_clicked_come_in_the_tables_order(table, items, tmp_path):
    fitted = FittedItems.fit(table, IDS, dataclasses.replace(items, vectors_width=2), tmp_path / "storage")
    assert fitted.unclicked(IDS).tolist() == ["c", "e"]


def test_the_configuration_keeps_the_width_and_the_name_of_the_vectors(table, items):
    config = Config(items=items)
    assert as_kept(config, None) == config
    assert as_kept(config, table).items == dataclasses.replace(items, vectors_width=2)
    elsewhere = Config(items=dataclasses.replace(items, vectors="some/where/texts.npz"))
    assert as_kept(elsewhere, table).items.vectors == "texts.npz"
