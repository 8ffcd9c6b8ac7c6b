"""The shop of these tests, and the project's commands run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
BIN = Path(sys.executable).parent
FORMATS = ("onnx", "torchscript")
PROTOCOLS = ("http", "grpc")
WINDOW = 8
#: Above the demo's 217 items, so that an answer can run out of items.
MAX_TOP_K = 230

CONFIG = f"""
[data]
session_column = "session_id"
item_column = "item_id"
time_column = "timestamp"
categorical = ["category", "country"]
log_continuous = ["price"]
time_features = ["weekday"]
window = {WINDOW}
holdout_days = 7

[model]
body = "xlnet"
pretraining = "mlm"
d_model = 32
layers = 1
heads = 2

[training]
epochs = 1
batch_size = 128
"""


def run_command(name: str, *arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands as a user would."""
    command = [str(BIN / name), *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, **more)


def succeed(name: str, *arguments: object) -> str:
    """Run a command that must not fail; returns what it printed."""
    result = run_command(name, *arguments)
    assert result.returncode == 0, f"{name} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout
