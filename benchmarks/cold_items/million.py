"""What an update of a large catalogue takes: so many new items in a Parquet file, until the version is written and proved.

Few items are clicked, all others come from the items table with `[items] cold_start`, so that the model trains in seconds: what
is measured is the size of the tables.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.cold_items.shops import ITEM, SESSION, TIME
from benchmarks.support.own_process import run_quietly

_CONFIG = """
[data]
window = 20
holdout_days = 1
sample_sessions = 40
[items]
categorical = ["category", "colour", "brand"]
log_continuous = ["price"]
continuous = ["rating"]
cold_start = true
[model]
body = "gru4rec"
pretraining = "clm"
d_model = 64
layers = 1
heads = 1
[training]
epochs = 1
"""
_CLICKED, _SESSIONS = 1_000, 400


@dataclasses.dataclass(frozen=True)
class Large:
    """items: of the catalogue. new: that are added. scoring: as nextitem-export has it."""

    items: int
    new: int
    scoring: str = "exact"


def items_table(first: int, count: int) -> pd.DataFrame:
    """Items from a number on, with string ids and five attributes."""
    random = np.random.default_rng(first)
    return pd.DataFrame(
        {
            ITEM: [f"sku-{number:08d}" for number in range(first, first + count)],
            "category": np.char.add("c", random.integers(0, 300, count).astype(str)),
            "colour": np.char.add("f", random.integers(0, 14, count).astype(str)),
            "brand": np.char.add("b", random.integers(0, 5_000, count).astype(str)),
            "price": random.lognormal(3, 1, count).astype(np.float32),
            "rating": random.normal(3.5, 1, count).astype(np.float32),
        }
    )


def update_of_a_large_catalogue(size: Large, folder: Path) -> dict[str, float]:
    """`update_s` and `update_mb`: the command's time, and the highest memory of its process, on one core."""
    items_table(0, size.items).to_parquet(folder / "items.parquet")
    items_table(size.items, size.new).to_parquet(folder / "new.parquet")
    _clicks().to_parquet(folder / "clicks.parquet")
    (folder / "config.toml").write_text(_CONFIG, encoding="utf-8")
    train = [Path(sys.executable).with_name("nextitem-train"), "--data", folder / "clicks.parquet"]
    train += ["--items", folder / "items.parquet", "--config", folder / "config.toml", "--output", folder / "run"]
    run_quietly(train)
    repository = folder / "repository"
    export = [Path(sys.executable).with_name("nextitem-export"), "--run", folder / "run", "--repository", repository]
    run_quietly([*export, "--name", "large", "--layout", "fused", "--scoring", size.scoring])
    command = [sys.executable, "-m", "nextitem_export.catalogue.cli", "update", folder / "new.parquet", "--partial"]
    return _timed_on_one_core([*map(str, command), "--repository", str(repository), "--name", "large", "--quiet"])


def _clicks() -> pd.DataFrame:
    random = np.random.default_rng(0)
    lengths = random.integers(2, 8, _SESSIONS)
    session = np.repeat(np.arange(_SESSIONS), lengths)
    return pd.DataFrame(
        {
            SESSION: session,
            ITEM: [f"sku-{number:08d}" for number in random.integers(0, _CLICKED, len(session))],
            TIME: pd.to_datetime(1_600_000_000 + 900 * session + np.arange(len(session)), unit="s"),
        }
    )


def _timed_on_one_core(command: list[str]) -> dict[str, float]:
    core = min(os.sched_getaffinity(0))
    began = time.monotonic()
    child = os.fork()
    if not child:
        os.sched_setaffinity(0, {core})
        silent = os.open(os.devnull, os.O_WRONLY)
        os.dup2(silent, 1)
        os.execv(command[0], command)
    _, status, used = os.wait4(child, 0)
    if status:
        raise RuntimeError(f"nextitem-catalogue ended with {os.waitstatus_to_exitcode(status)}")
    return {"update_s": time.monotonic() - began, "update_mb": used.ru_maxrss / 1024}
