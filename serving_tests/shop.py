"""The shop of these tests, and the project's commands run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
#: The bundles that are served, by name, and the options of their exports; the first is the README's.
BUNDLES = {
    "shop": (),
    "shop_torchscript": ("--format", "torchscript"),
    "shop_fused": ("--layout", "fused"),
    "shop_fused_torchscript": ("--layout", "fused", "--format", "torchscript"),
    "shop_nvtabular": ("--features", "nvtabular"),
}
PROTOCOLS = ("http", "grpc")
#: What the contract is tested on; the slow path over one protocol alone.
ASKED = [
    *((name, protocol) for name in ("shop", "shop_torchscript", "shop_fused") for protocol in PROTOCOLS),
    ("shop_fused_torchscript", "http"),
    ("shop_nvtabular", "http"),
]
WINDOW = 8
#: Above the demo's 217 items, so that an answer can run out of items.
MAX_TOP_K = 230

# The demo's columns, so that the README's requests can be asked here.
_DATA = (ROOT / "demo" / "config.toml").read_text().split("[model]")[0]
CONFIG = f"""
{_DATA.replace("window = 20", f"window = {WINDOW}").replace("holdout_days = 21", "holdout_days = 7")}
[model]
body = "xlnet"
pretraining = "mlm"
d_model = 32
layers = 2
heads = 2
dropout = 0.0
# Wide apart weights: a barely trained model of the usual ones answers every session alike, and then no test could tell
# one session's answer from another's.
initializer_range = 0.5
normalize = true
temperature = 0.1

[training]
epochs = 1
batch_size = 128
learning_rate = 3e-3
"""


def run_command(name: str, *arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands as a user would."""
    command = [str(BIN / name), *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, **more)


def trained(interactions: pd.DataFrame, config: str, folder: Path) -> Path:
    """A run directory in this folder, trained by the command."""
    interactions.to_parquet(folder / "interactions.parquet")
    (folder / "config.toml").write_text(config)
    succeed(
        "nextitem-train", "--data", folder / "interactions.parquet", "--config", folder / "config.toml",
        "--output", folder / "run",
    )  # fmt: skip
    return folder / "run"


def succeed(name: str, *arguments: object) -> str:
    """Run a command that must not fail; returns what it printed."""
    result = run_command(name, *arguments)
    assert result.returncode == 0, f"{name} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout
