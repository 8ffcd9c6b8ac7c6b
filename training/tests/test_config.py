import pytest

from nextitem_training.config import config_from, read_config
from nextitem_training.errors import ConfigError


def test_tables_become_dataclasses_and_the_rest_keeps_its_default(tmp_path):
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
        ({"model": 3}, r"'model' has to be a table \[model\]"),
        ({"model": {"layers": "two"}}, r"\[model\] layers is 'two'; it has to be of type int"),
        ({"model": {"layers": True}}, "has to be of type int"),
        ({"data": {"categorical": "brand"}}, "categorical is 'brand'; .* list of strings"),
        ({"data": {"categorical": ["item_id"]}}, "lists 'item_id' more than once"),
        ({"data": {"session_column": "visit_count"}}, "'visit_count'.*rename the column"),
        ({"data": {"window": 0}}, r"\[data\] window is 0; it has to be at least 1"),
        ({"data": {"min_session_length": 1}}, "min_session_length is 1"),
        ({"data": {"sample_sessions": 0}}, "sample_sessions is 0"),
        ({"data": {"holdout_days": 0}}, "holdout_days is 0.0; it has to be above 0"),
        ({"model": {"temperature": 0}}, "temperature is 0.0"),
        ({"model": {"dropout": 1.0}}, r"dropout is 1.0; it has to be from 0 to below 1"),
        ({"model": {"mask_probability": 1.0}}, "mask_probability is 1.0"),
        ({"model": {"generator_share": 0}}, "generator_share is 0.0; it has to be above 0 and at most 1"),
        ({"model": {"detection_weight": -1}}, "detection_weight is -1.0; it has to be at least 0"),
        ({"model": {"detection_weight": float("nan")}}, "detection_weight is nan; it has to be at least 0"),
        ({"model": {"d_model": 30, "heads": 4}}, "d_model has to be a multiple of 8"),
        ({"training": {"epochs": 0}}, "epochs is 0"),
        ({"training": {"learning_rate": -1}}, "learning_rate is -1.0"),
        ({"training": {"weight_decay": -1}}, "weight_decay is -1.0; it has to be at least 0"),
        ({"training": {"warmup_share": 2}}, "warmup_share is 2.0; it has to be from 0 to 1"),
        ({"training": {"seed": -1}}, "seed is -1; it has to be from 0 to 4294967295"),
        ({"training": {"seed": 2**32}}, "seed is 4294967296"),
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
