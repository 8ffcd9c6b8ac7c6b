import dataclasses

import numpy as np
import pytest
import torch

from nextitem_training.config import Config, DataConfig, ModelConfig, TrainingConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import ConfigError
from nextitem_training.loop.trainer import new_model, train

CONFIG = Config(
    DataConfig(window=5),
    model=ModelConfig(
        body="gpt2", pretraining="clm", d_model=16, heads=2, layers=1, dropout=0.0, initializer_range=0.2, side_width=4
    ),
    training=TrainingConfig(epochs=2, batch_size=24, learning_rate=1e-2, max_gradient_norm=0.5),
)


@pytest.fixture
def sessions():
    """Lengths from 2 to 8, so that micro-batches of a step have unlike numbers of targets; some items are unknown."""
    random = np.random.default_rng(1)
    lengths = random.integers(2, 9, 61)
    items = random.integers(1, 20, lengths.sum())
    features = {
        "item_id": items,
        "weekday": random.integers(1, 10, len(items)),
        "price": random.random(len(items), dtype=np.float32),
    }
    return EncodedSessions(np.arange(61), np.concatenate([[0], np.cumsum(lengths)]), features)


def trained_with(sessions, schema, **settings):
    chosen = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, **settings))
    return train(new_model(schema, chosen), sessions, chosen)


def furthest(found, expected, batch):
    """Of scores: Adam moves a weight of no influence by the sign of rounding errors."""
    with torch.no_grad():
        return float((found(batch) - expected(batch)).abs().max())


@pytest.fixture
def batch(batch_of):
    return batch_of([1, 3, 5, 5], 5)


@pytest.mark.parametrize("micro_batches", [2, pytest.param(8, marks=pytest.mark.slow)])
def test_a_step_in_micro_batches_is_the_same_step(sessions, schema, batch, micro_batches):
    whole = trained_with(sessions, schema)
    assert furthest(trained_with(sessions, schema, gradient_accumulation=micro_batches), whole, batch) < 2e-4
    # What a mean over micro-batches, whatever they hold, would give is far from it.
    assert furthest(trained_with(sessions, schema, batch_size=24 // micro_batches), whole, batch) > 2e-2


def test_a_batch_that_cannot_be_divided_is_refused(sessions, schema):
    with pytest.raises(ConfigError, match=r"batch_size is 24; it has to be a multiple of .*, 5 times 1"):
        trained_with(sessions, schema, gradient_accumulation=5)


def test_gradients_are_shortened_or_left(sessions, schema, batch):
    # Adam goes by the direction alone, but its memory of the lengths before does not.
    shortened, left, never = (trained_with(sessions, schema, max_gradient_norm=norm) for norm in (1e-2, 1e6, 0.0))
    assert furthest(left, never, batch) == 0
    assert furthest(shortened, never, batch) > 1e-3


def test_bfloat16_trains_near_to_float32_on_a_cpu_and_keeps_float32_weights(sessions, schema, batch):
    full = trained_with(sessions, schema)
    half = trained_with(sessions, schema, precision="bfloat16")
    assert {weight.dtype for weight in half.parameters()} == {torch.float32}
    assert 0 < furthest(half, full, batch) < 0.1
