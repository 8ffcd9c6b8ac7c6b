"""`nextitem-export` on a run that `nextitem-train` wrote."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest

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


def command(module: str, *arguments) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", module, *map(str, arguments)], capture_output=True, text=True)


@pytest.fixture(scope="module")
def run(shop, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.toml").write_text(CONFIG)
    shop.interactions(200).drop(columns="position").to_parquet(folder / "clicks.parquet")
    paths = ("--data", folder / "clicks.parquet", "--config", folder / "config.toml", "--output", folder / "run")
    done = command("nextitem_training", *paths)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def test_explain_tells_what_becomes_of_each_feature_without_a_model(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    (tmp_path / "run" / "model.safetensors").write_bytes(b"")
    done = command("nextitem_export.cli", "--run", tmp_path / "run", "--explain")
    assert done.returncode == 0, done.stderr
    for word in ("item_id", "category", "Categorify", "onnx"):
        assert word in done.stdout


def test_a_sample_that_is_hardly_judged_is_a_warning_of_the_command_too(run, tmp_path):
    shutil.copytree(run, tmp_path / "run")
    sample = pd.read_parquet(tmp_path / "run" / "sample.parquet")
    kept = sample["session_id"] == sample["session_id"].iloc[0]
    sample["category"] = sample["category"].astype("Int64").mask(~kept)
    sample.to_parquet(tmp_path / "run" / "sample.parquet")
    done = command(
        "nextitem_export.cli", "--run", tmp_path / "run", "--repository", tmp_path / "models", "--name", "shop"
    )
    assert done.returncode == 0, done.stderr
    assert "nextitem-export: warning: NVTabular has an answer for 1 of the " in done.stderr
    assert "Of most of them: NVTabular raises " in done.stderr
    assert (tmp_path / "models" / "shop" / "1" / "bundle.json").is_file()
