"""`nextitem-export` on a run that `nextitem-train` wrote."""

from __future__ import annotations

import shutil
from pathlib import Path

import pandas as pd
import pytest

from nextitem_export import cli
from nextitem_training import cli as training_cli

CONFIG = """\
[data]
session_column = "session_id"
item_column = "item_id"
time_column = "timestamp"
categorical = ["category"]
window = 4
holdout_days = 4

[model]
d_model = 8
layers = 1
heads = 1

[training]
epochs = 1
"""


@pytest.fixture(scope="module")
def run(shop, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.toml").write_text(CONFIG)
    shop.interactions(200).drop(columns="position").to_parquet(folder / "clicks.parquet")
    paths = ("--data", folder / "clicks.parquet", "--config", folder / "config.toml", "--output", folder / "run")
    assert training_cli.main([*map(str, paths)]) == 0
    return folder / "run"


def test_explain_tells_what_becomes_of_each_feature_without_a_model(run, own_process, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"")
    assert cli.main(["--run", str(tmp_path / "run"), "--explain"]) == 0
    printed = capsys.readouterr().out
    for word in ("item_id", "category", "Categorify", "onnx"):
        assert word in printed


def test_a_sample_that_is_hardly_judged_is_a_warning_of_the_command_too(run, own_process, tmp_path, capsys):
    shutil.copytree(run, tmp_path / "run")
    sample = pd.read_parquet(tmp_path / "run" / "sample.parquet")
    sample = sample[sample["session_id"].isin(sample["session_id"].unique()[:8])]
    kept = sample["session_id"] == sample["session_id"].iloc[0]
    sample["category"] = sample["category"].astype("Int64").mask(~kept)
    sample.to_parquet(tmp_path / "run" / "sample.parquet")
    assert cli.main(["--run", str(tmp_path / "run"), "--repository", str(tmp_path / "models"), "--name", "shop"]) == 0
    said = capsys.readouterr().err
    assert "nextitem-export: warning: NVTabular has an answer for 1 of the " in said
    assert "Of most of them: NVTabular raises " in said
    assert (tmp_path / "models" / "shop" / "1" / "bundle.json").is_file()
