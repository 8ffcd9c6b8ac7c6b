import dataclasses

import numpy as np
import pytest
import torch

from nextitem_training.bodies import BODIES
from nextitem_training.config import Config, DataConfig, ModelConfig, TrainingConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.loop.trainer import SCHEDULES, OneDevice, new_model, train

#: For every day; test_learning.py has each objective, of xlnet.
QUICK = (("gpt2", "clm"),)
COMBINATIONS = [
    pytest.param(body, name, marks=[] if (body, name) in QUICK else [pytest.mark.slow])
    for body in BODIES
    for name in BODIES.get(body).objectives
]
CONFIG = Config(
    DataConfig(window=5),
    model=ModelConfig(
        d_model=16,
        heads=2,
        layers=1,
        dropout=0.0,
        layer_norm_eps=1e-6,
        initializer_range=0.2,
        side_width=4,
    ),
    training=TrainingConfig(epochs=16, batch_size=32, learning_rate=1e-2),
)


def trained_on(sessions, schema, config):
    return train(new_model(schema, config), sessions, config)


def circle_of(count):
    """Sessions over 17 items, each followed by the second next one."""
    random = np.random.default_rng(1)
    lengths = random.integers(2, 9, count)
    items = [3 + (random.integers(17) + 2 * np.arange(n)) % 17 for n in lengths]
    items = np.concatenate(items)
    features = {
        "item_id": items,
        "weekday": random.integers(1, 10, len(items)),
        "price": random.random(len(items), dtype=np.float32),
    }
    return EncodedSessions(np.arange(count), np.concatenate([[0], np.cumsum(lengths)]), features)


@pytest.fixture
def circle():
    """As many as teach the circle."""
    return circle_of(300)


@pytest.fixture
def few():
    """Three steps an epoch."""
    return circle_of(80)


@pytest.mark.parametrize(("body", "objective"), COMBINATIONS)
def test_every_combination_learns_a_known_pattern_at_every_length(circle, schema, body, objective):
    chosen = dataclasses.replace(CONFIG.model, body=body, pretraining=objective)
    model = trained_on(circle, schema, dataclasses.replace(CONFIG, model=chosen))
    assert not model.training
    for length in (1, 3, 5):  # up to a full window, whose [MASK] stands at position `window`
        first = torch.arange(17)
        items = 3 + (first[:, None] + 2 * torch.arange(length)) % 17  # (B, T)
        batch = {
            "item_id": items,
            "weekday": torch.ones_like(items),
            "price": torch.zeros(items.shape),
        }
        with torch.no_grad():
            best = model(batch)[:, 3:].argmax(1) + 3
        expected = 3 + (first + 2 * length) % 17
        assert (best == expected).float().mean() > 0.8, length


def test_one_seed_gives_one_model(few, schema):
    short = dataclasses.replace(CONFIG, training=dataclasses.replace(CONFIG.training, epochs=1))
    first, second = (trained_on(few, schema, short).state_dict() for _ in range(2))
    assert all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("schedule", ["cosinus", "warmup_stable_decay"])
def test_a_schedule_is_refused_that_is_unknown_or_needs_more_settings(circle, schema, schedule):
    training = dataclasses.replace(CONFIG.training, schedule=schedule)
    with pytest.raises(ConfigError, match=f"schedule is '{schedule}'; known are linear, cosine"):
        trained_on(circle, schema, dataclasses.replace(CONFIG, training=training))


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_every_schedule_that_is_named_trains(few, schema, schedule):
    training = dataclasses.replace(CONFIG.training, schedule=schedule, epochs=1)
    trained_on(few, schema, dataclasses.replace(CONFIG, training=training))


def test_sessions_that_are_too_short_are_refused(circle, schema):
    data = dataclasses.replace(CONFIG.data, min_session_length=50)
    with pytest.raises(DataError, match=r"No session has the 50 interactions"):
        trained_on(circle, schema, dataclasses.replace(CONFIG, data=data))


def test_a_process_takes_one_gpu_of_several(tmp_path, monkeypatch):
    arguments = OneDevice(output_dir=str(tmp_path), use_cpu=True)
    assert arguments.n_gpu == 0
    monkeypatch.setattr(arguments, "_n_gpu", 4)  # what Transformers counts where four are there
    assert arguments.n_gpu == 1
    assert arguments.train_batch_size == arguments.per_device_train_batch_size
