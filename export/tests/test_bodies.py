"""Every body with every pre-training approach that fits it, exported in every format: equal to the eager model.

Equal means what the model gives to a session alone and without padding, while the graph gets it padded, with garbage in the
padding and among others. `make test-all` runs them all and prints a table, which docs/bodies.md keeps.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from nextitem_export.graphs.formats import FORMATS, write_ranker
from nextitem_export.graphs.ranker import CODES, SCORES, Ranker, RankerFeature
from nextitem_export.parity.compare import ranking_difference
from nextitem_export.runtime.codes import FIRST_ITEM, LOWEST_FLOAT32
from nextitem_export.runtime.item_index import ItemIndex
from nextitem_export.runtime.step import open_step
from nextitem_training.bodies import BODIES
from nextitem_training.config import ModelConfig
from nextitem_training.model import SessionModel
from nextitem_training.schema import Feature, RawFeature, SessionSchema

WINDOW = 20
ITEMS = 500
COLOURS = 12
K = 20
FEATURES = (
    RankerFeature("item", "feature__0", "int64"),
    RankerFeature("colour", "feature__1", "int64"),
    RankerFeature("price", "feature__2", "float32"),
)
SCHEMA = SessionSchema(
    window=WINDOW,
    session_column="session",
    time_column="time",
    tie_breaker_column="row",
    item_column="item",
    item_feature="item",
    raw_features=(RawFeature("item", "string"), RawFeature("colour", "string"), RawFeature("price", "float32")),
    features=(
        Feature("item", "int64", "categorical", ITEMS, ()),
        Feature("colour", "int64", "categorical", COLOURS, ()),
        Feature("price", "float32", "continuous", None, ()),
    ),
)
COMBINATIONS = [(body, approach) for body in BODIES for approach in BODIES.get(body).approaches]
#: `make test` takes one of each make, and the slowest exporter for few of them; `make test-all` takes all.
QUICK = ("bert", "convbert", "deberta", "funnel", "gpt2", "gru4rec", "longformer", "reformer", "roformer", "xlnet")
QUICK_DYNAMO = ("bert", "gru4rec", "xlnet")


def sessions(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Features of sessions of mixed lengths, the first one full, the second of one interaction, with garbage in the padding."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, WINDOW + 1, count)
    lengths[:2] = (WINDOW, 1)[:count]
    valid = np.arange(WINDOW) < lengths[:, None]
    price = np.where(valid, random.normal(size=valid.shape), random.choice([-1e4, 1e4], valid.shape))
    return {
        "feature__0": np.where(valid, random.integers(FIRST_ITEM, ITEMS, valid.shape), 0),
        "feature__1": random.integers(1, COLOURS, valid.shape),
        "feature__2": price.astype(np.float32),
        "excluded__3": np.zeros((count, 64), dtype=np.int64),
        "allowed__4": np.zeros((count, 64), dtype=np.int64),
    }


def alone(model: SessionModel, encoded: dict[str, np.ndarray], row: int) -> np.ndarray:
    """The eager scores [V] of one session by itself, trimmed to its length."""
    length = int((encoded["feature__0"][row] != 0).sum())
    named = {f.name: torch.from_numpy(encoded[f.tensor][row : row + 1, :length]) for f in FEATURES}
    with torch.no_grad():
        scores = model(named)[0].numpy().copy()
    scores[:FIRST_ITEM] = LOWEST_FLOAT32
    return scores


def cases() -> Iterator:
    for (body, pretraining), format_name in itertools.product(COMBINATIONS, FORMATS):
        quick = body in (QUICK_DYNAMO if format_name == "onnx_dynamo" else QUICK)
        yield pytest.param(body, pretraining, format_name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("body", "pretraining", "format_name"), cases())
def test_a_body_is_exported_as_it_is(tmp_path: Path, body_table, body: str, pretraining: str, format_name: str) -> None:
    torch.manual_seed(1)
    config = ModelConfig(body=body, pretraining=pretraining, d_model=64, layers=2, heads=4, initializer_range=0.05)
    model = SessionModel(config, SCHEMA).eval()
    ranker = Ranker(model, FEATURES, "item", np.full(ITEMS, -1.0, dtype=np.float32), K)
    example = tuple(torch.from_numpy(sessions(2)[feature.tensor]) for feature in FEATURES)
    ItemIndex.of(np.arange(ITEMS - FIRST_ITEM)).save(tmp_path)
    began = time.perf_counter()
    write_ranker(format_name, ranker, FEATURES, example, tmp_path, threads=1)
    seconds = time.perf_counter() - began
    step = open_step(tmp_path)
    worst = 0.0
    for count in (1, 3, 64):
        encoded = sessions(count, seed=count)
        answer = step.run(encoded)
        for row in range(count):
            difference, fault = ranking_difference(alone(model, encoded, row), answer[CODES][row], answer[SCORES][row])
            worst = max(worst, difference)
            assert fault is None, f"{count} sessions, row {row}: {fault}"
    body_table.add(
        body, pretraining, format_name,
        parameters=sum(p.numel() for p in model.parameters()) - model.item_table().numel(),
        seconds=seconds,
        megabytes=sum(f.stat().st_size for f in tmp_path.glob("model.*")) / 1e6,
        ms={count: median_ms(step, sessions(count)) for count in (1, 32)},
        worst=worst,
    )  # fmt: skip


def median_ms(step, encoded: dict[str, np.ndarray]) -> float:
    """Of ten calls, after three."""
    taken = []
    for _ in range(13):
        began = time.perf_counter()
        step.run(encoded)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[3:])) * 1e3
