import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.bodies import BODIES
from nextitem_training.config import HeadConfig, LossConfig, ModelConfig
from nextitem_training.config.heads import HeadKind
from nextitem_training.heads import HEADS
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import OBJECTIVES

SMALL = ModelConfig(d_model=16, heads=2, layers=1, side_width=4, initializer_range=0.2, dropout=0.0)
BOUGHT = HeadConfig("bought", "binary", "bought", weight=0.5)
DWELL = HeadConfig("seconds", "regression", "dwell", weight=2.0, hidden=6)


def model_of(schema, objective="mlm", heads=(BOUGHT, DWELL), **loss):
    torch.manual_seed(0)
    body = next(name for name in ("xlnet", *BODIES) if objective in BODIES.get(name).objectives)
    config = dataclasses.replace(SMALL, body=body, pretraining=objective)
    return SessionModel(config, schema, heads=heads, loss=LossConfig(**loss))


@pytest.fixture
def batch(batch_of):
    features = batch_of([6, 3, 5, 2], 6)
    real = features["item_id"] != 0
    features["bought"] = (features["item_id"] % 2).float() * real
    features["dwell"] = features["item_id"] * 10.0
    return features


def head_of(kind, **fields):
    return HEADS.get(kind)(HeadConfig("h", kind, "c", **fields), 8)


def test_every_kind_is_registered_and_tested():
    assert list(HEADS) == sorted(get_args(HeadKind)) == ["binary", "regression"]


@pytest.mark.parametrize("hidden", [0, 5])
@given(targets=st.lists(st.sampled_from([0.0, 1.0, float("nan")]), min_size=1, max_size=6))
def test_a_binary_heads_loss_is_the_cross_entropy_of_its_probability(hidden, targets):
    head = head_of("binary", hidden=hidden).double()
    states, targets = torch.randn(1, len(targets), 8).double(), torch.tensor([targets]).double()
    chance = head.predict(states)[0, :, 0]
    asked = torch.ones_like(targets, dtype=torch.bool)
    logs = [torch.log(p if t else 1 - p) for p, t in zip(chance, targets[0], strict=True) if not torch.isnan(t)]
    expected = -sum(logs) / len(logs) if logs else torch.zeros(()).double()
    torch.testing.assert_close(head.loss(states, targets, asked), expected)


#: To three digits: of what is further from the mean than 1e19 deviations, no float32 holds the square.
AMOUNTS = st.floats(-1e3, 1e3).map(lambda value: float(np.float32(round(value, 3))))


@given(values=st.lists(AMOUNTS, min_size=2, max_size=6), training=st.lists(AMOUNTS, min_size=1, max_size=6))
def test_a_regression_learns_deviations_and_answers_in_the_columns_unit(values, training):
    head = head_of("regression")
    head.take_statistics(np.array([*training, np.nan], dtype=np.float32))
    mean, std = np.mean(training), np.std(training) or 1.0
    states, targets = torch.randn(1, len(values), 8), torch.tensor([values])
    asked = torch.ones_like(targets, dtype=torch.bool)
    asked[0, 0] = False
    raw = head.raw(states)[0, :, 0].detach().double().numpy()
    expected = np.square(raw - (np.array(values) - mean) / std)[1:].mean()
    np.testing.assert_allclose(head.loss(states, targets, asked).item(), expected, rtol=1e-2, atol=1e-3)
    np.testing.assert_allclose(head.predict(states)[0, :, 0].detach(), raw * std + mean, rtol=1e-4, atol=1e-2)


@pytest.mark.parametrize("values", [[7.0, 7.0, 7.0], [0.0, 2e-42]])
def test_statistics_of_one_value_do_not_divide_by_zero(values):
    head = head_of("regression")
    head.take_statistics(np.array(values, np.float32))
    assert head.std.item() == 1.0
    assert torch.isfinite(
        head.loss(torch.randn(1, 2, 8), torch.tensor([[0.0, 1.0]]), torch.ones(1, 2, dtype=torch.bool))
    )


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_head_is_asked_for_the_interaction_whose_item_is_predicted(schema, batch, objective, monkeypatch):
    model = model_of(schema, objective)
    batch["dwell"] = torch.where(batch["item_id"] % 5 == 0, torch.nan, batch["item_id"] * 10.0)
    seen = []

    def errors(hidden, targets):
        seen.append((hidden, targets))
        return targets * 0

    monkeypatch.setattr(model.heads[1], "errors", errors)
    asked = []
    hidden_of = model.hidden
    monkeypatch.setattr(model, "hidden", lambda given: asked.append((given.items, hidden_of(given))) or asked[-1][1])
    for _ in range(5):
        assert torch.isfinite(model.loss(batch)[0])
    for (hidden, targets), (items, states) in zip(seen, asked, strict=True):
        known = (items != 0) & (items % 5 != 0)
        assert known.any()
        assert torch.equal(targets, items[known] * 10.0)
        assert torch.equal(hidden, states[known])


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_the_loss_is_the_weighted_sum(schema, batch, objective):
    def loss(heads, **weights):
        torch.manual_seed(3)
        model = model_of(schema, objective, heads, **weights)
        torch.manual_seed(4)
        return model.loss(batch)[0].item()

    alone = loss(())
    bought = loss((BOUGHT,)) - alone
    assert bought > 0
    doubled = dataclasses.replace(BOUGHT, weight=1.0)
    assert loss((doubled,)) == pytest.approx(alone + 2 * bought, rel=1e-5)
    assert loss((BOUGHT,), item_weight=0.25) == pytest.approx(alone / 4 + bought, rel=1e-5)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_a_heads_loss_reaches_its_weights_the_body_and_the_inputs(schema, batch, objective):
    model = model_of(schema, objective, item_weight=0.0)
    model.loss(batch)[0].backward()
    for module in (*model.heads, model.body, model.inputs):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
    assert all(p.grad is not None for p in model.heads.parameters())


def test_targets_that_are_all_null_train_nothing(schema, batch):
    model = model_of(schema)
    for name in ("bought", "dwell"):
        batch[name] = torch.full_like(batch[name], torch.nan)
    without = model_of(schema, heads=())
    torch.manual_seed(4)
    total, _ = model.loss(batch)
    total.backward()
    torch.manual_seed(4)
    assert total.item() == without.loss(batch)[0].item()
    assert all(not p.grad.any() for p in model.heads.parameters())


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_the_query_and_the_heads_come_from_one_run_of_the_body(schema, batch_of, objective):
    model = model_of(schema, objective).eval()
    runs = []
    model.body.register_forward_hook(lambda *_: runs.append(1))
    batch = batch_of([5, 1, 0], 5)
    with torch.no_grad():
        query, heads = model.query_and_heads(batch)
        assert len(runs) == 1
        assert torch.equal(query, model.query(batch))
        assert list(heads) == list(model.head_widths) == ["bought", "seconds"]
        assert model.head_widths == {"bought": 1, "seconds": 1}
        for values in heads.values():
            assert values.shape == (3, 1)
            assert values.dtype == torch.float32
        assert ((heads["bought"] > 0) & (heads["bought"] < 1)).all()


def test_heads_read_the_hidden_state_before_it_is_normalised(schema, batch_of):
    batch = batch_of([5, 2], 5)
    values = []
    for normalize in (False, True):
        torch.manual_seed(0)
        config = dataclasses.replace(SMALL, normalize=normalize)
        values.append(SessionModel(config, schema, heads=(BOUGHT,)).eval().query_and_heads(batch)[1]["bought"])
    assert torch.equal(*values)


def test_a_model_without_heads_says_so_and_is_as_before(schema, batch_of):
    model = model_of(schema, heads=()).eval()
    assert model.head_widths == {}
    batch = batch_of([5, 2], 5)
    query, heads = model.query_and_heads(batch)
    assert heads == {}
    assert torch.equal(query, model.query(batch))
    assert not [name for name in model.state_dict() if "head" in name]
    # Further weights come last, so that the seed gives the others their values as before.
    state = model_of(schema).state_dict()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_query_and_heads_trace_exactly(schema, batch_of):
    model = model_of(schema).eval()

    class Both(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, item_id, weekday, price):
            query, heads = self.model.query_and_heads({"item_id": item_id, "weekday": weekday, "price": price})
            return query, *heads.values()

    with torch.no_grad():
        traced = torch.jit.trace(Both(), tuple(batch_of([2, 4], 4).values()), check_trace=False)
        batch = batch_of([0, 5, 2], 5, seed=2)
        query, heads = model.query_and_heads(batch)
        for found, expected in zip(traced(*batch.values()), (query, *heads.values()), strict=True):
            torch.testing.assert_close(found, expected, atol=5e-5, rtol=1e-4)
