"""A run that nextitem-import made of a recorded model is exported like any; the gate holds it against the eager model."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

from nextitem_export import export_run
from nextitem_training.importing import cli

TRAINING_TESTS = Path(__file__).parents[3] / "training" / "tests"
RECORDED = TRAINING_TESTS / "importing" / "recorded"
TOLD = {
    "bert_side": [
        *("--masking", "mlm", "--body", "bert", "--heads", "2", "--activation", "relu", "--task-activation", "none"),
    ],
    "gpt2_clm": ["--masking", "clm", "--heads", "2", "--temperature", "0.5"],
    "xlnet_plm": ["--masking", "plm"],
    "xlnet_soft": ["--masking", "clm"],
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The options that name the recorded models' workflow and a sample."""
    spec = importlib.util.spec_from_file_location("importing_shop", TRAINING_TESTS / "support" / "importing_shop.py")
    shop = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(shop)
    folder, frame = tmp_path_factory.mktemp("shop"), shop.interactions()
    shop.fit(frame, folder).save(str(folder / "workflow"))
    frame.to_parquet(folder / "clicks.parquet")
    return ["--workflow", str(folder / "workflow"), "--sample", str(folder / "clicks.parquet"), "--quiet"]


@pytest.mark.parametrize(("name", "mask"), [(name, mask) for name in TOLD for mask in ("original", "proper")])
def test_an_imported_run_is_exported(shop, tmp_path, name, mask):
    files = ["--state-dict", str(RECORDED / f"{name}.safetensors"), "--schema", str(RECORDED / f"{name}.pbtxt")]
    output = ["--output", str(tmp_path / "run"), "--mask", mask]
    assert cli.main([*files, *shop, *output, *TOLD[name]]) == 0
    bundle = export_run(tmp_path / "run", repository=tmp_path / "repository", name=name)
    assert bundle.manifest.is_file()
    assert not bundle.warnings
