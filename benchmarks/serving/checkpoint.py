"""The checkpoint that every server under test answers with, and the sessions that they are all asked.

Interactions are synthetic: 50 thousand items with string ids, of which few are clicked often (Zipf), in 40 categories that a
visitor mostly stays in. The model is trained for one epoch, by nextitem-train: how good it is does not matter here, its shape
and its vocabulary do.
"""

from __future__ import annotations

import dataclasses
import hashlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

BIN = Path(sys.executable).parent

CATEGORIES, LONGEST = 40, 50
K = 20
UNKNOWN_SHARE = 0.01


@dataclasses.dataclass(frozen=True)
class Shop:
    """How many items there are, and how many sessions the model is trained on."""

    items: int = 50_000
    sessions: int = 6_000


SHOP = Shop()
#: The smallest with which everything runs.
SMALL_SHOP = Shop(items=400, sessions=300)

_CONFIG = """
[data]
session_column = "session_id"
item_column = "item_id"
time_column = "timestamp"
categorical = ["category"]
log_continuous = ["price"]
time_features = ["weekday"]
window = 20
holdout_days = 2
sample_sessions = 200

[model]
body = "sasrec"
pretraining = "clm"
d_model = 64
layers = 2
heads = 4
normalize = true
temperature = 0.07
dropout = 0.1
layer_norm_eps = 1e-6
initializer_range = 0.05

[training]
epochs = 1
batch_size = {batch_size}
learning_rate = 2e-3
"""
#: Items from which on the whole catalogue costs a training step too much, and what is done instead.
SAMPLED_FROM = 100_000
_SAMPLED = """
[loss]
kind = "sampled-softmax"
sampling = "popularity"
negatives = 4096
"""


def checkpoint(folder: Path, shop: Shop) -> Path:
    """The run directory, trained where `folder` does not hold it yet; its name says what it is made of."""
    text = config_of(shop.items)
    made_of = hashlib.sha256(f"{text}{shop.items}{CATEGORIES}{shop.sessions}{LONGEST}".encode()).hexdigest()[:12]
    run = folder / f"checkpoint-{made_of}"
    if run.exists():
        return run
    folder.mkdir(parents=True, exist_ok=True)
    data, config = folder / "interactions.parquet", folder / "config.toml"
    interactions(shop).to_parquet(data)
    config.write_text(text, encoding="utf-8")
    command = [BIN / "nextitem-train", "--data", data, "--config", config, "--output", run, "--overwrite"]
    subprocess.run(command, check=True)
    return run


def config_of(items: int, batch_size: int = 64) -> str:
    """The configuration for a catalogue of this size; of a large one a training step scores a sample."""
    return _CONFIG.format(batch_size=batch_size) + (_SAMPLED if items >= SAMPLED_FROM else "")


def item_id(number: int) -> str:
    """A raw id as shops have them: 14 characters that say nothing."""
    return f"sku-{number * 2_654_435_761 % 2**32:010d}"


def interactions(shop: Shop) -> pd.DataFrame:
    """Training sessions of 2 to 50 interactions, most of them short; every item is clicked at least once."""
    random = np.random.default_rng(1)
    lengths = np.minimum(2 + random.geometric(1 / 9, shop.sessions), LONGEST)
    session = np.repeat(np.arange(shop.sessions), lengths)
    items = _clicked(random, session, shop.items)
    starts = np.sort(random.integers(0, 30 * 86_400, shop.sessions))
    # The last two days are held out: an item that is only clicked there would be unknown.
    early = np.flatnonzero(starts[session] < 27 * 86_400)
    items[random.choice(early, shop.items, replace=False)] = random.permutation(shop.items)
    within = np.concatenate([np.arange(n) for n in lengths]) * 30
    return pd.DataFrame(
        {
            "session_id": session,
            "timestamp": pd.to_datetime(1_714_557_600 + starts[session] + within, unit="s").astype("datetime64[ns]"),
            **_columns(items),
        }
    )


def sessions(count: int, shop: Shop, seed: int = 7) -> list[dict[str, list[Any]]]:
    """Sessions to ask for, one dict of columns each: 1 to 50 interactions, every length alike; 1 % of the ids are unknown."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, LONGEST + 1, count)
    items = _clicked(random, np.repeat(np.arange(count), lengths), shop.items)
    columns = _columns(items)
    ends = np.cumsum(lengths)
    unknown = random.random(len(items)) < UNKNOWN_SHARE
    unknown[ends - 1] = False  # no session is cold: what is answered then is no work of the model's
    for place in np.flatnonzero(unknown).tolist():
        columns["item_id"][place] = f"new-{place}"
    start_ns = 1_717_200_000_000_000_000
    return [
        {
            **{name: list(values[end - length : end]) for name, values in columns.items()},
            "timestamp": [start_ns + 30_000_000_000 * step for step in range(length)],
        }
        for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)
    ]


def _clicked(random: np.random.Generator, session: np.ndarray, count: int) -> np.ndarray:
    """The item [N] of each interaction: popular ones more often, and for the most part of the session's category."""
    weights = 1.0 / np.arange(1, count + 1) ** 0.8
    items = random.choice(count, len(session), p=weights / weights.sum())
    home = random.integers(0, CATEGORIES, session.max() + 1)[session]
    stays = random.random(len(session)) < 0.7
    return np.where(stays, items - items % CATEGORIES + home, items) % count


def _columns(items: Sequence[int] | np.ndarray) -> dict[str, list[Any]]:
    numbers = np.asarray(items)
    return {
        "item_id": [item_id(number) for number in numbers.tolist()],
        "category": [f"category-{number}" for number in (numbers % CATEGORIES).tolist()],
        "price": (np.float32(1.0) + (numbers * 7919 % 20_000).astype(np.float32) / 100).tolist(),
    }
