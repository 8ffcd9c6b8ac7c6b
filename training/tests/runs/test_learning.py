"""Each pre-training objective learns a known pattern in which the last item decides."""

import dataclasses

import numpy as np
import pytest
import torch

from nextitem_training.bodies import BODIES
from nextitem_training.config import Config, DataConfig, InputsConfig, ModelConfig, TrainingConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.loop.trainer import new_model, train
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import OBJECTIVES

ITEMS = 17
STEP = 2
CONFIG = Config(
    data=DataConfig(window=5),
    model=ModelConfig(
        d_model=16, heads=2, layers=1, dropout=0.0, layer_norm_eps=1e-6, initializer_range=0.2, side_width=4
    ),
    training=TrainingConfig(epochs=10, batch_size=32, learning_rate=1e-2),
)


def features_of(items):
    items = torch.as_tensor(items)
    return {"item_id": items, "weekday": torch.ones_like(items), "price": torch.zeros(items.shape)}


@pytest.fixture(scope="module")
def jumps():
    """Each item is followed by the second next one, save for one step in three, which jumps anywhere."""
    random = np.random.default_rng(2)
    lengths = random.integers(2, 7, 500)
    items = []
    for length in lengths:
        item = random.integers(ITEMS)
        for _ in range(length):
            items.append(3 + item)
            item = random.integers(ITEMS) if random.random() < 1 / 3 else (item + STEP) % ITEMS
    features = {name: values.numpy() for name, values in features_of(np.array(items)).items()}
    return EncodedSessions(np.arange(500), np.concatenate([[0], np.cumsum(lengths)]), features)


@pytest.fixture(scope="module", params=list(OBJECTIVES))
def learnt(request, jumps, schema):
    body = next(name for name in ("xlnet", *BODIES) if request.param in BODIES.get(name).objectives)
    config = dataclasses.replace(CONFIG, model=dataclasses.replace(CONFIG.model, body=body, pretraining=request.param))
    return train(new_model(schema, config), jumps, config), SessionModel(config.model, schema).eval()


def best(model, items):
    with torch.no_grad():
        return model(features_of(items))[:, 3:].argmax(1) + 3


def test_the_loss_falls(learnt, jumps):
    batch = features_of(3 + (np.arange(64)[:, None] + STEP * np.arange(6)) % ITEMS)
    losses = []
    for model in learnt:
        torch.manual_seed(0)
        with torch.no_grad():
            losses.append(model.loss(batch)[0].item())
    assert losses[0] < 0.7 * losses[1]


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_next_item_is_found_whatever_came_before_the_last(learnt, length):
    items = 3 + torch.randint(ITEMS, (200, length), generator=torch.Generator().manual_seed(length))
    expected = 3 + (items[:, -1] - 3 + STEP) % ITEMS
    recall = (best(learnt[0], items) == expected).float().mean()
    untrained = (best(learnt[1], items) == expected).float().mean()
    assert recall > 0.8, recall  # chance is 1/17
    assert untrained < 0.3


def test_the_last_item_moves_the_answer(learnt):
    items = 3 + torch.randint(ITEMS, (200, 4), generator=torch.Generator().manual_seed(0))
    other = items.clone()
    other[:, -1] = 3 + (items[:, -1] - 3 + 1) % ITEMS
    assert (best(learnt[0], items) != best(learnt[0], other)).float().mean() > 0.8


def test_pretrained_vectors_help_where_examples_are_few(schema):
    """Sixty items of four kinds; any item of a kind is followed by any of the next, and the vectors tell the kind."""
    kinds, each, ways = 4, 15, ("input", "item")
    item = dataclasses.replace(schema.features[0], cardinality=3 + kinds * each)
    many = dataclasses.replace(schema, features=(item, *schema.features[1:]))
    random = np.random.default_rng(0)
    kind = (random.integers(kinds, size=(150, 1)) + np.arange(4)) % kinds
    items = 3 + kind * each + random.integers(each, size=kind.shape)
    features = {name: values.numpy() for name, values in features_of(items.ravel()).items()}
    sessions = EncodedSessions(np.arange(150), 4 * np.arange(151), features)
    vectors = np.zeros((3 + kinds * each, kinds), np.float32)
    vectors[np.arange(3, 3 + kinds * each), np.arange(kinds * each) // each] = 1
    longer = dataclasses.replace(CONFIG.training, epochs=20)
    hits = {}
    for inputs in (InputsConfig(), *(InputsConfig(pretrained_width=kinds, pretrained_as=way) for way in ways)):
        config = dataclasses.replace(CONFIG, inputs=inputs, training=longer)
        model = new_model(many, config)
        if inputs.pretrained_width:
            model.inputs.pretrained.fill(vectors)
        asked = torch.arange(3, 3 + kinds * each)[:, None]
        found = best(train(model, sessions, config), asked) - 3
        right = found // each == ((asked[:, 0] - 3) // each + 1) % kinds
        hits[inputs.pretrained_as if inputs.pretrained_width else "none"] = right.float().mean().item()
    assert all(hits[way] > hits["none"] + 0.2 for way in ways), hits
