"""A run of the shop with heads, pretrained item vectors and a bias per item."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from serving_tests.support.made import shop

HEADS = """
[[heads]]
name = "buys_cheap"
kind = "binary"
column = "is_cheap"

[[heads]]
name = "next_price"
kind = "regression"
column = "paid"
hidden = 8
"""
COLUMNS = ["is_cheap", "paid"]
VECTOR_WIDTH = 12


def train(folder: Path, way: str) -> None:
    """The run `heads_trained_` and how it takes the vectors of items: input or item."""
    here = folder / "runs" / f"heads_trained_{way}"
    here.mkdir(parents=True)
    clicks = shop.clicks()
    few = clicks[clicks.timestamp >= "2008-07-28"].reset_index(drop=True)
    told = few.assign(is_cheap=(few.price < 40).astype(np.int64), paid=few.price.astype(np.float64) * 100)
    ids = told.item_id.unique()[:-5].astype(str)  # some items come without a vector
    vectors = np.random.default_rng(0).normal(size=(len(ids), VECTOR_WIDTH))
    np.savez(here / "vectors.npz", ids=ids, vectors=vectors)
    config = shop.CONFIG.replace("[model]\n", "[model]\nitem_bias = true\n")
    config = config.replace('"xlnet"', '"gpt2"').replace('"mlm"', '"clm"').replace("layers = 2", "layers = 1")
    config = config.replace("[data]\n", f"[data]\nsample_sessions = 12\ntargets = {json.dumps(COLUMNS)}\n")
    inputs = f'\n[inputs]\npretrained_items = "{here / "vectors.npz"}"\npretrained_as = "{way}"\n'
    shop.trained(told, config + inputs + HEADS, here)
