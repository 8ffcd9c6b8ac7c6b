import dataclasses
import re

import pytest

from nextitem_training.config import ModelConfig, TrainingConfig, config_from, read_config
from nextitem_training.errors import ConfigError


def _head(**changes):
    return {"name": "bought", "kind": "binary", "column": "bought"} | changes


def test_tables_become_dataclasses_and_missing_keys_have_their_defaults(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('[data]\ncategorical = ["brand"]\nholdout_days = 3\n[model]\nbody = "bert"\n')
    config = read_config(path)
    assert config.data.categorical == ("brand",)
    assert config.data.holdout_days == 3.0
    assert config.model.body == "bert"
    assert config.training.seed == 42


@pytest.mark.parametrize(
    ("tables", "sentence"),
    [
        ({"modle": {}}, "Unknown key 'modle' in the configuration. Did you mean 'model'"),
        ({"model": {"d_modell": 4}}, r"'d_modell' in \[model\]. Did you mean 'd_model'"),
        ({"model": 3}, r"\[model\] is 3; it has to be a table"),
        ({"model": {"layers": "two"}}, r"\[model\] layers is 'two'; it has to be a valid integer"),
        ({"model": {"layers": True}}, "layers is True; it has to be a valid integer"),
        ({"data": {"categorical": "brand"}}, "categorical is 'brand'; it has to be a list"),
        ({"data": {"categorical": ["item_id"]}}, "lists 'item_id' more than once"),
        ({"data": {"session_column": "visit_count"}}, "'visit_count'.*rename the column"),
        ({"data": {"window": 0}}, r"\[data\] window is 0; it has to be greater than 0"),
        ({"data": {"min_session_length": 1}}, "min_session_length is 1"),
        ({"data": {"min_item_count": 0}}, "min_item_count is 0; it has to be greater than 0"),
        ({"data": {"holdout": "last-item"}}, "holdout is 'last-item'; it has to be 'days' or 'last-interaction'"),
        (
            {"data": {"holdout": "last-interaction", "validation_days": 2}},
            "validation_days is 2, but holdout is 'last-interaction', .* set validation_interaction = true",
        ),
        ({"data": {"validation_interaction": True}}, "validation_interaction is true, but holdout is 'days'"),
        ({"data": {"sample_sessions": 0}}, "sample_sessions is 0"),
        ({"data": {"holdout_days": 0}}, "holdout_days is 0; it has to be greater than 0"),
        ({"model": {"temperature": 0}}, "temperature is 0;"),
        ({"model": {"dropout": 1.0}}, r"dropout is 1.0; it has to be less than 1"),
        ({"model": {"item_dropout": -0.5}}, r"item_dropout is -0.5; it has to be greater than or equal to 0"),
        ({"model": {"mask_probability": 1.0}}, "mask_probability is 1.0"),
        ({"model": {"generator_share": 0}}, "generator_share is 0; it has to be greater than 0"),
        ({"model": {"detection_weight": -1}}, "detection_weight is -1; it has to be greater than or equal to 0"),
        ({"model": {"detection_weight": float("nan")}}, "detection_weight is nan; it has to be a finite number"),
        ({"model": {"d_model": 30, "heads": 4}}, "d_model has to be a multiple of 8"),
        ({"training": {"epochs": 0}}, "epochs is 0"),
        ({"training": {"learning_rate": -1}}, "learning_rate is -1"),
        ({"training": {"weight_decay": -1}}, "weight_decay is -1; it has to be greater than or equal to 0"),
        ({"training": {"warmup_share": 2}}, "warmup_share is 2; it has to be less than or equal to 1"),
        ({"training": {"seed": -1}}, "seed is -1; it has to be greater than or equal to 0"),
        ({"training": {"seed": 2**32}}, "seed is 4294967296; it has to be less than 4294967296"),
        (
            {"training": {"precision": "bfloat"}},
            r"\[training\] precision is 'bfloat'; it has to be 'auto', .* Did you mean 'bfloat16'",
        ),
        ({"training": {"metric": "recall@5"}}, "metric is 'recall@5'; it has to be 'recall@10', 'recall@20'"),
        ({"training": {"patience": -1}}, "patience is -1; it has to be greater than or equal to 0"),
        ({"training": {"checkpoint_steps": -1}}, "checkpoint_steps is -1"),
        ({"training": {"gradient_accumulation": 0}}, "gradient_accumulation is 0; it has to be greater than 0"),
        ({"training": {"max_gradient_norm": -1}}, "max_gradient_norm is -1"),
        ({"data": {"validation_days": -1}}, "validation_days is -1; it has to be greater than or equal to 0"),
        ({"data": {"continuous": ["price"], "targets": ["price"]}}, "lists 'price' more than once"),
        (
            {"inputs": {"aggregation": "mean"}},
            r"\[inputs\] aggregation is 'mean'; it has to be 'concat', 'sum' or 'item-multiplied-sum'",
        ),
        ({"inputs": {"pretrained_as": "output"}}, "pretrained_as is 'output'"),
        ({"inputs": {"soft_one_hot_count": 1}}, "soft_one_hot_count is 1; it has to be greater than or equal to 2"),
        ({"inputs": {"soft_one_hot": ["price"]}}, "soft_one_hot lists 'price', which is no number; .* are empty"),
        (
            {"data": {"continuous": ["price"]}, "inputs": {"soft_one_hot": ["price", "price"]}},
            "soft_one_hot lists 'price' more than once",
        ),
        ({"inputs": {"pretrained_width": -1}}, "pretrained_width is -1"),
        ({"inputs": {"swap_noise": 1.0}}, "swap_noise is 1.0; it has to be less than 1"),
        ({"inputs": {"dropout": -0.1}}, "dropout is -0.1"),
        ({"loss": {"kind": "bpr"}}, r"\[loss\] kind is 'bpr'; it has to be 'full', 'sampled-softmax' or 'gbce'"),
        ({"loss": {"sampling": "random"}}, "sampling is 'random'"),
        ({"loss": {"negatives": 0}}, "negatives is 0; it has to be greater than 0"),
        ({"loss": {"calibration": 2}}, "calibration is 2; it has to be less than or equal to 1"),
        ({"loss": {"label_smoothing": 1.0}}, "label_smoothing is 1.0"),
        (
            {"loss": {"label_smoothing": 0.1, "kind": "gbce"}},
            "label_smoothing goes with kind = 'full', not with 'gbce'",
        ),
        ({"loss": {"sampling": "popularity", "kind": "gbce"}}, "'gbce' is defined for uniform negatives"),
        ({"loss": {"item_weight": -1}}, "item_weight is -1"),
        ({"heads": {"name": "bought"}}, "heads is {'name': 'bought'}; it has to be a list"),
        ({"heads": [{"name": "bought", "kind": "binary"}]}, r"\[\[heads\]\] has no 'column', which it needs"),
        ({"heads": [_head(colour=1)]}, r"Unknown key 'colour' in \[\[heads\]\]"),
        ({"heads": [_head(kind="multiclass")]}, "kind is 'multiclass'; it has to be 'binary' or 'regression'"),
        ({"heads": [_head(name="scores")]}, "name is 'scores'; .* none of item_ids, scores, status, session_length"),
        ({"heads": [_head(name="top_k")]}, "name is 'top_k'"),
        ({"heads": [_head(name="item_id")]}, "'item_id' has the name of a column that callers .* another name"),
        ({"heads": [_head(name="is bought")]}, "name is 'is bought'; .* letters, digits"),
        ({"heads": [_head(weight=-1)]}, "weight is -1"),
        ({"heads": [_head(hidden=-1)]}, "hidden is -1"),
        ({"heads": [_head()]}, r"predicts the column 'bought', which is none of \[data\] targets: which is empty"),
        ({"data": {"targets": ["bought"]}, "heads": [_head(), _head()]}, "has 'bought' more than once"),
    ],
)
def test_a_wrong_value_is_refused_with_a_sentence(tables, sentence):
    with pytest.raises(ConfigError, match=sentence):
        config_from(tables)


def test_a_missing_or_malformed_file_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"none.toml cannot be read"):
        read_config(tmp_path / "none.toml")
    (tmp_path / "broken.toml").write_text("[data")
    with pytest.raises(ConfigError, match="no valid TOML"):
        read_config(tmp_path / "broken.toml")


def test_heads_are_a_list_of_tables(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text(
        '[data]\ntargets = ["bought"]\n[[heads]]\nname = "buys"\nkind = "binary"\ncolumn = "bought"\nweight = 2\n'
    )
    (head,) = read_config(path).heads
    assert (head.name, head.kind, head.column, head.weight, head.hidden) == ("buys", "binary", "bought", 2.0, 0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"time_unit": "sec"}, "[data] time_unit is 'sec'; it has to be '', 's', 'ms', 'us' or 'ns'."),
        ({"time_from": ["year", "month"]}, "[data] time_from lists 2 columns; it takes those of year, month, day and"),
        (
            {"time_from": list("ymd"), "time_unit": "s"},
            "[data] time_unit and time_from are both set",
        ),
        ({"separator": ";;"}, "[data] separator is ';;'; it has to be one ASCII character"),
        ({"separator": "§"}, "[data] separator is '§'"),
        ({"separator": "\n"}, "[data] separator is '\\n'"),
        ({"encoding": "latin-99"}, "[data] encoding is 'latin-99', which Python does not know"),
        ({"encoding": "base64"}, "[data] encoding is 'base64', which"),
        (
            {"types": {"item_id": "text"}},
            "[data] types.item_id is 'text'; it has to be 'string', 'integer', 'float' or 'datetime'.",
        ),
        (
            {"types": {"item": "string"}},
            "[data.types] names 'item', which is no column of [data]. Did you mean 'item_id'?",
        ),
        ({"types": {"row_position": "integer"}}, "[data.types] names 'row_position', which is no column"),
        ({"types": "string"}, "[data] types is 'string'; it has to be a table."),
        (
            {"types": {"item_id": 1}},
            "[data] types.item_id is 1; it has to be 'string', 'integer', 'float' or 'datetime'.",
        ),
    ],
)
def test_how_files_are_read_is_checked(settings, sentence):
    with pytest.raises(ConfigError, match=re.escape(sentence)):
        config_from({"data": settings})


def test_a_byte_order_mark_is_skipped(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text('\ufeff[data]\nwindow = 7\n[data.types]\nitem_id = "string"\n', encoding="utf-8")
    data = read_config(path).data
    assert data.window == 7
    assert data.types == {"item_id": "string"}


def test_a_configuration_made_in_python_is_checked_as_one_from_a_file():
    with pytest.raises(ConfigError, match=r"\[training\] epochs is 0; it has to be greater than 0"):
        dataclasses.replace(TrainingConfig(), epochs=0)
    with pytest.raises(ConfigError, match=r"\[model\] d_model is '64'; it has to be a valid integer"):
        ModelConfig(d_model="64")
