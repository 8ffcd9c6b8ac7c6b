"""nextitem-train --init-from goes on with an imported model, whose shape no configuration says."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from nextitem_training.config import Config, DataConfig, TrainingConfig
from nextitem_training.errors import ConfigError
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from nextitem_training.train import train_run
from training.tests.importing.test_recorded import imported, shop  # noqa: F401  a fixture
from training.tests.support import importing_shop

CONFIG = Config(
    data=DataConfig(
        categorical=("category",), continuous=("price", "rating"), window=importing_shop.WINDOW, holdout_days=0.05
    ),
    training=TrainingConfig(epochs=1, batch_size=16, learning_rate=1e-4),
)


@pytest.fixture
def clicks(shop, tmp_path):  # noqa: F811
    """The same interactions, of which one item is new."""
    frame = shop[0].copy()
    frame.loc[frame.index % 50 == 0, "item_id"] = "new"
    frame.to_parquet(tmp_path / "later.parquet")
    return tmp_path / "later.parquet"


def test_an_imported_model_is_trained_on(shop, tmp_path, clicks):  # noqa: F811
    old = imported(shop, tmp_path / "old", "bert_side")
    trained = train_run(clicks, CONFIG, tmp_path / "new", init_from=old.path).run
    assert trained.config.imported == old.config.imported
    assert trained.config.model == old.config.model
    assert trained.metrics()["init_from"]["from_group"] == 1
    before, after = old.load_model(), trained.load_model()
    moved = (before.body.state_dict(), after.body.state_dict())
    assert all(torch.allclose(moved[0][name], moved[1][name], atol=0.05) for name in moved[0])
    item = (
        OfflinePredictor(old).item_ids.tolist().index("i03"),
        OfflinePredictor(trained).item_ids.tolist().index("i03"),
    )
    torch.testing.assert_close(before.item_table()[item[0]], after.item_table()[item[1]], atol=0.05, rtol=0)
    assert RunDirectory.open(trained.path).schema.feature_names == old.config.imported.columns


def test_other_columns_are_refused(shop, tmp_path, clicks):  # noqa: F811
    old = imported(shop, tmp_path / "old", "xlnet_readme")
    with pytest.raises(
        ConfigError, match="reads other features: item_id, category, price; here they are item_id, category,"
    ):
        train_run(clicks, CONFIG, tmp_path / "new", init_from=old.path)
    fewer = dataclasses.replace(CONFIG, data=dataclasses.replace(CONFIG.data, continuous=("price",), window=4))
    with pytest.raises(ConfigError, match="window is 5 there and 4 here"):
        train_run(clicks, fewer, tmp_path / "new", init_from=old.path)
