"""The shop of these tests: the demo's clicks of some weeks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from serving_tests.support.made.jobs import command

ROOT = Path(__file__).parents[3]
#: The bundles that are served, by name, and the options of their exports; the first is the README's.
BUNDLES = {
    "shop": (),
    "shop_torchscript": ("--format", "torchscript"),
    "shop_fused": ("--layout", "fused"),
    "shop_fused_torchscript": ("--layout", "fused", "--format", "torchscript", "--instances", "1"),
    "shop_nvtabular": ("--features", "nvtabular"),
}
#: Bundles for Triton's own backends, which the embedded server has not.
NATIVE = {
    "native": ("--runtime", "native"),
    "native_torchscript": ("--runtime", "native", "--format", "torchscript"),
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


def clicks() -> pd.DataFrame:
    """The demo's clicks of some weeks."""
    frame = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    return frame[frame.timestamp >= "2008-06-25"].reset_index(drop=True)


def sessions(clicks: pd.DataFrame) -> list[pd.DataFrame]:
    """Held-out sessions in all lengths, raw."""
    last = clicks[clicks.timestamp >= "2008-08-07"]
    return [session.reset_index(drop=True) for _, session in last.groupby("session_id", sort=False)]


def train(folder: Path) -> None:
    """The run `shop`. Of the sessions that an export is proved on 80 stay, since it is exported many times."""
    trained(clicks(), CONFIG, folder / "runs" / "shop")
    path = folder / "runs" / "shop" / "run" / "sample.parquet"
    sample = pd.read_parquet(path)
    sample[sample.session_id.isin(sample.session_id.unique()[:80])].to_parquet(path)


def trained(interactions: pd.DataFrame, config: str, folder: Path) -> None:
    """Train by the command, into `folder`/run."""
    folder.mkdir(parents=True, exist_ok=True)
    interactions.to_parquet(folder / "interactions.parquet")
    (folder / "config.toml").write_text(config)
    command(
        "nextitem-train", "--data", folder / "interactions.parquet", "--config", folder / "config.toml",
        "--output", folder / "run",
    )  # fmt: skip
