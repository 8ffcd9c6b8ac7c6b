"""Every body with every pre-training objective that fits it, exported in every format: equal to the eager model.

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

from export.tests.support.formats import EACH_FORMAT
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import Step, open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export.parity.compare import ranking_difference
from nextitem_export.retrieval.formats import FORMATS, write_retrieval
from nextitem_export.retrieval.module import ModelFeature, Retrieval
from nextitem_export.retrieval.tensors import CODES, SCORES
from nextitem_training.bodies import BODIES
from nextitem_training.config import ModelConfig
from nextitem_training.model import SessionModel
from nextitem_training.schema import Feature, RawFeature, SessionSchema

WINDOW = 20
ITEMS = 500
COLOURS = 12
K = 20
FEATURES = (
    ModelFeature("item", "feature__0", "int64"),
    ModelFeature("colour", "feature__1", "int64"),
    ModelFeature("price", "feature__2", "float32"),
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
COMBINATIONS = [(body, objective) for body in BODIES for objective in BODIES.get(body).objectives]
#: `make test` takes one of each make and kind of attention, `make test-all` takes all.
QUICK = {
    "core": "clm",
    "gru4rec": "clm",
    "convbert": "mlm",
    "longformer": "rtd",
    "reformer": "mlm",
    "xlnet": "plm",
}
#: torch.export takes seconds, however small the model.


def sessions(count: int, seed: int = 0, *, garbage: bool = True) -> dict[str, np.ndarray]:
    """Features of sessions of mixed lengths, the first one full, the second of one interaction, with garbage in the padding."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, WINDOW + 1, count)
    lengths[:2] = (WINDOW, 1)[:count]
    valid = np.arange(WINDOW) < lengths[:, None]
    encoded = {
        "feature__0": np.where(valid, random.integers(FIRST_ITEM, ITEMS, valid.shape), 0),
        "feature__1": random.integers(1, COLOURS, valid.shape),
        "feature__2": np.where(valid, random.normal(size=valid.shape), 1e4).astype(np.float32),
        "excluded__3": np.zeros((count, 64), dtype=np.int64),
        "allowed__4": np.zeros((count, 64), dtype=np.int64),
    }
    if not garbage:
        encoded |= {
            name: np.where(valid, encoded[name], encoded[name].dtype.type(0)) for name in ("feature__1", "feature__2")
        }
    return encoded


def eager(model: SessionModel, encoded: dict[str, np.ndarray], row: int, *, trimmed: bool = True) -> np.ndarray:
    """The eager scores [V] of one session by itself, without its padding or with it."""
    length = int((encoded["feature__0"][row] != 0).sum()) if trimmed else WINDOW
    named = {f.name: torch.from_numpy(encoded[f.tensor][row : row + 1, :length]) for f in FEATURES}
    with torch.no_grad():
        scores = model(named)[0].numpy().copy()
    scores[:FIRST_ITEM] = LOWEST_FLOAT32
    return scores


def exported(config: ModelConfig, format_name: str, folder: Path) -> tuple[SessionModel, Step]:
    torch.manual_seed(1)
    model = SessionModel(config, SCHEMA).eval()
    retrieval = Retrieval(model, FEATURES, "item", np.full(ITEMS, -1.0, dtype=np.float32), K)
    example = tuple(torch.from_numpy(sessions(2)[feature.tensor]) for feature in FEATURES)
    ItemIndex.of(np.arange(ITEMS - FIRST_ITEM)).save(folder)
    write_retrieval(format_name, retrieval, FEATURES, example, folder, threads=1)
    return model, open_step(folder)


def worst_difference(model: SessionModel, step: Step, *, padding_seen: bool = False) -> float:
    """The largest difference of scores in batches of 1, 3 and 64; fails where a ranking is another one."""
    worst = 0.0
    for count in (1, 3, 64):
        encoded = sessions(count, seed=count, garbage=not padding_seen)
        answer = step.run(encoded)
        for row in range(count):
            true = eager(model, encoded, row, trimmed=not padding_seen)
            difference, fault = ranking_difference(true, answer[CODES][row], answer[SCORES][row])
            worst = max(worst, difference)
            assert fault is None, f"{count} sessions, row {row}: {fault}"
    return worst


def median_ms(step: Step, encoded: dict[str, np.ndarray]) -> float:
    """Of ten calls, after three."""
    taken = []
    for _ in range(13):
        began = time.perf_counter()
        step.run(encoded)
        taken.append(time.perf_counter() - began)
    return float(np.median(taken[3:])) * 1e3


def cases() -> Iterator:
    for (body, pretraining), format_name in itertools.product(COMBINATIONS, FORMATS):
        quick = QUICK.get(body) == pretraining and format_name != "onnx_dynamo"
        yield pytest.param(body, pretraining, format_name, marks=() if quick else pytest.mark.slow)


@pytest.mark.parametrize(("body", "pretraining", "format_name"), cases())
def test_a_body_is_exported_as_it_is(tmp_path: Path, body_table, body: str, pretraining: str, format_name: str) -> None:
    config = ModelConfig(body=body, pretraining=pretraining, d_model=64, layers=2, heads=4, initializer_range=0.05)
    began = time.perf_counter()
    model, step = exported(config, format_name, tmp_path)
    body_table.add(
        body, pretraining, format_name,
        seconds=time.perf_counter() - began,
        parameters=sum(p.numel() for p in model.body.parameters()),
        megabytes=sum(f.stat().st_size for f in tmp_path.glob("model.*")) / 1e6,
        ms={count: median_ms(step, sessions(count)) for count in (1, 32)},
        worst=worst_difference(model, step),
    )  # fmt: skip


@pytest.mark.parametrize("format_name", EACH_FORMAT)
@pytest.mark.parametrize(
    ("body", "pretraining"),
    [
        ("bert", "rtd"),
        ("gpt2", "clm"),
        ("xlnet", "plm"),
        pytest.param("bert", "mlm", marks=pytest.mark.slow),
        pytest.param("xlnet", "mlm", marks=pytest.mark.slow),
    ],
)
def test_with_padding_seen_an_answer_still_depends_on_its_session_alone(
    tmp_path: Path, body: str, pretraining: str, format_name: str
) -> None:
    """compat lets the body see padded steps, of which every session then has the same number."""
    config = ModelConfig(
        body=body,
        pretraining=pretraining,
        d_model=16,
        layers=2,
        heads=2,
        compat="transformers4rec",
        initializer_range=0.2,
    )
    worst_difference(*exported(config, format_name, tmp_path), padding_seen=True)


@pytest.mark.parametrize("format_name", EACH_FORMAT)
@pytest.mark.parametrize("body", ["bert", "xlnet"])
def test_normalised_scores_are_exported_as_they_are(tmp_path: Path, body: str, format_name: str) -> None:
    config = ModelConfig(body=body, pretraining="mlm", d_model=16, layers=1, heads=2, normalize=True, temperature=0.07)
    worst_difference(*exported(config, format_name, tmp_path))


@pytest.mark.parametrize("format_name", EACH_FORMAT)
def test_what_only_training_needs_is_not_exported(tmp_path: Path, format_name: str) -> None:
    sizes = []
    for pretraining in ("mlm", "rtd"):
        config = ModelConfig(body="bert", pretraining=pretraining, d_model=16, layers=2, heads=2)
        (tmp_path / pretraining).mkdir()
        exported(config, format_name, tmp_path / pretraining)
        sizes.append(sum(file.stat().st_size for file in (tmp_path / pretraining).iterdir()))
    assert abs(sizes[0] - sizes[1]) < 500  # the generator and the judgement have 10 kB
