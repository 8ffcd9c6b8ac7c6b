"""Every body with every pre-training approach that fits it, exported in every format: equal to the eager model."""

from __future__ import annotations

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

WINDOW = 6
ITEMS = 50
K = 10

FEATURES = (RankerFeature("item", "feature__0", "int64"), RankerFeature("price", "feature__1", "float32"))
SCHEMA = SessionSchema(
    window=WINDOW,
    session_column="session",
    time_column="time",
    tie_breaker_column="row",
    item_column="item",
    item_feature="item",
    raw_features=(RawFeature("item", "string"), RawFeature("price", "float32")),
    features=(
        Feature("item", "int64", "categorical", ITEMS, ()),
        Feature("price", "float32", "continuous", None, ()),
    ),
)


def sessions(count: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Features of sessions of mixed lengths, the first one full, garbage-free padding."""
    random = np.random.default_rng(seed)
    lengths = random.integers(1, WINDOW + 1, count)
    lengths[0] = WINDOW
    valid = np.arange(WINDOW) < lengths[:, None]
    return {
        "feature__0": np.where(valid, random.integers(FIRST_ITEM, ITEMS, (count, WINDOW)), 0),
        "feature__1": np.where(valid, random.normal(size=(count, WINDOW)), 0).astype(np.float32),
        "excluded__2": np.zeros((count, 64), dtype=np.int64),
        "allowed__3": np.zeros((count, 64), dtype=np.int64),
    }


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(
    ("body", "pretraining"), [(body, approach) for body in BODIES for approach in BODIES.get(body).approaches]
)
@pytest.mark.parametrize("normalize", [False, True])
def test_a_body_is_exported_as_it_is(tmp_path, body: str, pretraining: str, format_name: str, normalize: bool) -> None:
    config = ModelConfig(body=body, pretraining=pretraining, d_model=16, layers=2, heads=2, normalize=normalize)
    assert_exported_as_it_is(config, format_name, tmp_path)


@pytest.mark.parametrize("format_name", FORMATS)
@pytest.mark.parametrize(
    ("body", "pretraining"), [("bert", "mlm"), ("bert", "rtd"), ("gpt2", "clm"), ("xlnet", "mlm"), ("xlnet", "plm")]
)
def test_with_padding_seen_an_answer_still_depends_on_its_session_alone(
    tmp_path, body: str, pretraining: str, format_name: str
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
    assert_exported_as_it_is(config, format_name, tmp_path)


@pytest.mark.parametrize("format_name", FORMATS)
def test_what_only_training_needs_is_not_exported(tmp_path, format_name: str) -> None:
    sizes = []
    for pretraining in ("mlm", "rtd"):
        config = ModelConfig(body="bert", pretraining=pretraining, d_model=16, layers=2, heads=2)
        folder = tmp_path / pretraining
        folder.mkdir()
        assert_exported_as_it_is(config, format_name, folder)
        sizes.append(sum(file.stat().st_size for file in folder.rglob("*") if file.is_file()))
    assert abs(sizes[0] - sizes[1]) < 500  # the generator and the judgement have 10 kB


def assert_exported_as_it_is(config: ModelConfig, format_name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    model = SessionModel(config, SCHEMA).eval()
    popularity = np.full(ITEMS, -1.0, dtype=np.float32)
    ranker = Ranker(model, FEATURES, "item", popularity, K)
    example = tuple(torch.from_numpy(sessions(2)[feature.tensor]) for feature in FEATURES)
    ItemIndex.of(np.arange(ITEMS - FIRST_ITEM)).save(tmp_path)
    write_ranker(format_name, ranker, FEATURES, example, tmp_path, threads=1)
    step = open_step(tmp_path)
    for count in (1, 3, 64):
        encoded = sessions(count, seed=count)
        answer = step.run(encoded)
        with torch.no_grad():
            named = {f.name: torch.from_numpy(encoded[f.tensor]) for f in FEATURES}
            true = model(named).numpy()
        true[:, :FIRST_ITEM] = LOWEST_FLOAT32
        for row in range(count):
            _, fault = ranking_difference(true[row], answer[CODES][row], answer[SCORES][row])
            assert fault is None, f"{count} sessions, row {row}: {fault}"
            alone = step.run({name: values[row : row + 1] for name, values in encoded.items()})
            np.testing.assert_allclose(alone[SCORES][0], answer[SCORES][row], rtol=0, atol=2e-5)
