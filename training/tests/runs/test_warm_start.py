import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch

from nextitem_training import workflow
from nextitem_training.config import config_from
from nextitem_training.errors import ConfigError, RunDirectoryError
from nextitem_training.starting.warm_start import WarmStart, _old_rows
from nextitem_training.train import train_run


@pytest.fixture(scope="module")
def grown(clicks):
    """Tomorrow's interactions: popular items have become rare, two are gone, three are new, two of these of a known brand."""
    later = clicks[clicks.item_id != "i03"].copy()
    later["timestamp"] += pd.Timedelta(days=1)
    fresh = later[later.item_id.isin(["i00", "i01", "i02"])].copy()
    fresh["session_id"] = "n" + fresh["session_id"]
    fresh["item_id"] = fresh["item_id"].map({"i00": "new north", "i01": "new south", "i02": "new without"})
    return pd.concat([later, fresh, fresh.assign(session_id="m" + fresh["session_id"])], ignore_index=True)


def train_on(frame, config, folder, **options):
    path = folder / "clicks.parquet"
    frame.to_parquet(path)
    return train_run(path, config, folder / "run", **options)


@pytest.fixture(scope="module")
def continued(grown, config, run, tmp_path_factory):
    """Continued without a step worth the name, so that what was carried over can be seen."""
    still = dataclasses.replace(config.training, epochs=1, learning_rate=1e-12)
    frozen = dataclasses.replace(config, training=still)
    return train_on(grown, frozen, tmp_path_factory.mktemp("continued"), init_from=run.path).run


def rows_of(run, name):
    """Raw value to its row of the embedding."""
    model, fitted = run.load_model(), run.load_workflow()
    values = workflow.vocabulary(fitted, name).values
    place = model.inputs.categorical.index(name)
    return dict(zip(values, model.inputs.embeddings[place].weight[3:].detach().numpy(), strict=True))


@pytest.mark.parametrize("name", ["item_id", "brand", "shop", "hour"])
def test_rows_are_carried_over_by_raw_value(run, continued, name):
    before, after = rows_of(run, name), rows_of(continued, name)
    same = before.keys() & after.keys()
    assert len(same) >= 2
    if name == "item_id":
        assert list(before) != list(after)[: len(before)]  # the codes have changed
    for value in same:
        np.testing.assert_allclose(after[value], before[value], atol=1e-6)


def test_a_new_item_starts_from_the_mean_of_its_group(run, continued):
    before, after = rows_of(run, "item_id"), rows_of(continued, "item_id")
    north = np.mean([before[item] for item in ("i00", "i04", "i08")], axis=0)  # brand is item % 4, i03 is gone
    np.testing.assert_allclose(after["new north"], north, atol=1e-6)
    assert np.abs(after["new without"] - north).max() > 1e-3  # its brand is the empty string: no group
    metrics = continued.metrics()["init_from"]
    assert metrics == {"items": 14, "carried": 11, "from_group": 2, "gone": 1}


def test_everything_else_is_carried_over_as_it_is(run, continued):
    before, after = run.load_model().state_dict(), continued.load_model().state_dict()
    assert before.keys() == after.keys()
    others = [name for name in before if not name.startswith("inputs.embeddings")]
    assert others
    for name in others:
        torch.testing.assert_close(after[name], before[name], atol=1e-6, rtol=0)


def test_yesterdays_recall_is_reached_in_at_most_half_the_steps(grown, config, run, tmp_path):
    yesterdays = run.metrics()["metrics"]["model"]["recall@10"]

    def epochs_to_reach(name, **options):
        for epochs in (1, 2, 3, 4, 6, 8, 12):
            shorter = dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=epochs))
            (tmp_path / f"{name}{epochs}").mkdir()
            found = train_on(grown, shorter, tmp_path / f"{name}{epochs}", **options)
            if found.metrics["model"]["recall@10"] >= yesterdays:
                return epochs
        raise AssertionError(f"{name} never reached {yesterdays}")

    assert 2 * epochs_to_reach("warm", init_from=run.path) <= epochs_to_reach("scratch")


def test_another_model_is_refused_with_what_differs(clicks_path, config, run, tmp_path):
    wider = dataclasses.replace(config, model=dataclasses.replace(config.model, d_model=32, body="bert"))
    with pytest.raises(ConfigError, match=r"body is 'xlnet' there and 'bert' here; d_model is 16 there and 32 here"):
        train_run(clicks_path, wider, tmp_path / "run", init_from=run.path)


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"compat": "transformers4rec"}, "compat is '' there and 'transformers4rec' here"),
        ({"generator_share": 1.0}, "generator_share is 0.5 there and 1.0 here"),
    ],
)
def test_what_decides_which_weights_there_are_has_to_be_the_same(config, run, setting, sentence):
    other = dataclasses.replace(config, model=dataclasses.replace(config.model, **setting))
    with pytest.raises(ConfigError, match=sentence):
        WarmStart(run.path, other)


def test_other_features_are_refused_with_both_lists(clicks_path, config, run, tmp_path):
    fewer = dataclasses.replace(config, data=dataclasses.replace(config.data, categorical=("brand",)))
    with pytest.raises(
        ConfigError, match=r"reads other features: item_id, brand, shop, .*; here they are item_id, brand, w"
    ):
        train_run(clicks_path, fewer, tmp_path / "run", init_from=run.path)
    assert not (tmp_path / "run").exists()


def test_no_run_is_refused(clicks_path, config, tmp_path):
    with pytest.raises(RunDirectoryError, match="There is no run directory"):
        train_run(clicks_path, config, tmp_path / "run", init_from=tmp_path / "nothing")


def test_ids_of_another_type_are_refused():
    with pytest.raises(ConfigError, match=r"'item_id' holds integers; in the run to start from it held strings"):
        _old_rows(np.array([1, 2]), np.array(["1", "2"], dtype=object), "item_id")


def test_rows_are_found_by_value():
    old = np.array(["b", "a", "ø"], dtype=object)
    assert _old_rows(np.array(["ø", "c", "b"], dtype=object), old, "x").tolist() == [2, -1, 0]
    assert _old_rows(np.array([2**60 + 1, 2**60]), np.array([2**60, 2**60 + 1]), "x").tolist() == [1, 0]


def test_the_group_has_to_be_categorical():
    with pytest.raises(ConfigError, match="item_group is 'brnad'; it has to be one of categorical: brand"):
        config_from({"data": {"categorical": ["brand"], "item_group": "brnad"}})


def test_the_run_directory_says_how_it_began(continued):
    assert json.loads((continued.path / "metrics.json").read_text())["init_from"]["carried"] == 11
