"""Replaced token detection: the parts that are trained beside MLM's."""

import dataclasses

import pytest
import torch

from nextitem_training.bodies import BODIES
from nextitem_training.config import ModelConfig
from nextitem_training.model import SessionModel

BODIES_OF_RTD = [name for name in BODIES if "rtd" in BODIES.get(name).objectives]
SMALL = ModelConfig(pretraining="rtd", d_model=16, heads=2, layers=1, side_width=4, dropout=0.0, initializer_range=0.2)


def model_of(schema, **fields):
    torch.manual_seed(0)
    return SessionModel(dataclasses.replace(SMALL, **fields), schema)


def size(module):
    return sum(parameter.numel() for parameter in module.parameters())


def test_rtd_goes_with_every_body_that_takes_mlm():
    assert [name for name in BODIES if "mlm" in BODIES.get(name).objectives] == BODIES_OF_RTD


@pytest.mark.parametrize("body", BODIES_OF_RTD)
def test_the_generator_is_a_smaller_body_of_the_same_kind(schema, body):
    model = model_of(schema, body=body)
    assert type(model.objective.generator) is type(model.body)
    assert size(model.objective.generator) < size(model.body) / 2


@pytest.mark.parametrize(("share", "heads", "expected"), [(0.25, 4, 16), (0.5, 1, 32), (0.01, 4, 2), (1.0, 4, 64)])
def test_the_generator_keeps_an_even_width_per_head(schema, share, heads, expected):
    model = model_of(schema, d_model=64, heads=heads, generator_share=share)
    assert model.objective.narrow.out_features == expected


def test_replacements_stand_at_hidden_items_alone_and_are_drawn_by_the_generators_chances(schema, batch_of):
    model = model_of(schema, normalize=True)
    items = batch_of([5, 3], 5)["item_id"]
    hidden = torch.zeros_like(items, dtype=torch.bool)
    hidden[0, 2] = hidden[1, 1] = True
    guess = torch.zeros(2, 5, 16)  # all scores equal
    drawn = torch.stack([model.objective._corrupt(model, guess, hidden, items) for _ in range(300)])
    assert torch.equal(drawn[:, ~hidden], items[~hidden].expand(300, -1))
    assert drawn[:, hidden].unique().tolist() == list(range(3, 20))  # any item, the true one too
    sharp = model_of(schema, normalize=True, temperature=1e-4)
    certain = sharp.item_table()[7].expand(2, 5, 16)
    assert (sharp.objective._corrupt(sharp, certain, hidden, items)[hidden] == 7).all()
    nothing = torch.zeros_like(hidden)
    assert torch.equal(model.objective._corrupt(model, guess, nothing, items), items)


def labels_of(model, batch, monkeypatch):
    """What the judgement is compared with, and where."""
    seen = {}
    whole = torch.nn.functional.binary_cross_entropy_with_logits

    def spy(verdict, replaced, reduction):
        seen["replaced"] = replaced
        return whole(verdict, replaced, reduction=reduction)

    monkeypatch.setattr(torch.nn.functional, "binary_cross_entropy_with_logits", spy)
    model.loss(batch)
    return seen["replaced"]


@pytest.mark.parametrize("right", [True, False])
def test_an_item_that_the_generator_happened_to_get_right_is_real(schema, batch_of, monkeypatch, right):
    model = model_of(schema)
    batch = batch_of([6, 4], 6)
    items = batch["item_id"]
    hidden = []

    def corrupt(_, guess, where, items):
        hidden.append(where)
        other = 3 + (items - 2) % 17
        return torch.where(where, items if right else other, items)

    monkeypatch.setattr(model.objective, "_corrupt", corrupt)
    replaced = labels_of(model, batch, monkeypatch)
    assert hidden[0].any()
    assert (items[hidden[0]] >= 3).all()  # neither null nor unknown is replaced
    assert torch.equal(replaced.bool(), hidden[0] & (not right))
    assert items.shape == replaced.shape


def test_the_detection_loss_trains_the_body_and_not_the_generator(schema, batch_of, monkeypatch):
    model = model_of(schema, detection_weight=1.0)
    monkeypatch.setattr(model, "item_loss", lambda hidden, items: (hidden.sum() * 0, torch.tensor(1)))
    model.loss(batch_of([6, 6, 5], 6))[0].backward()
    for module in (model.objective.discriminator, model.body):
        assert any(p.grad is not None and p.grad.abs().max() > 0 for p in module.parameters())
    for module in (model.objective.generator, model.objective.narrow, model.objective.widen):
        assert all(p.grad is None or not p.grad.any() for p in module.parameters())


def test_side_features_do_not_give_a_replaced_item_away(schema, batch_of, monkeypatch):
    """Whatever is judged is judged by items alone."""
    model = model_of(schema)
    monkeypatch.setattr(model, "item_loss", lambda hidden, items: (torch.zeros(()), torch.tensor(1)))
    monkeypatch.setattr(model.objective, "_corrupt", lambda model, guess, hidden, items: items)
    batch = batch_of([6, 6, 5], 6)
    other = {**batch, "weekday": batch["weekday"].flip(0), "price": batch["price"] + 1}
    losses = []
    for features in (batch, other):
        torch.manual_seed(4)
        losses.append(model.loss(features)[0].item())
    assert losses[0] == losses[1] > 0


def test_inference_reads_neither_the_generator_nor_the_judgement(schema, batch_of):
    model = model_of(schema).eval()
    batch = batch_of([3, 5], 5)
    with torch.no_grad():
        before = model.query(batch)
        for module in (
            model.objective.generator,
            model.objective.narrow,
            model.objective.widen,
            model.objective.discriminator,
        ):
            for parameter in module.parameters():
                parameter.fill_(float("nan"))
        assert torch.equal(model.query(batch), before)


def test_the_body_learns_to_tell_replaced_items_from_real_ones(schema):
    """Every item follows from the one before it, so that a wrong one is out of place."""
    model = model_of(schema, body="bert", layer_norm_eps=1e-6, detection_weight=10.0)
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    random = torch.Generator().manual_seed(0)

    def batch():
        items = 3 + (torch.randint(17, (64, 1), generator=random) + 2 * torch.arange(5)) % 17
        return {"item_id": items, "weekday": torch.ones_like(items), "price": torch.zeros(64, 5)}

    torch.manual_seed(0)
    for _ in range(80):
        optimizer.zero_grad()
        total, count = model.loss(batch())
        (total / count).backward()
        optimizer.step()
    items = batch()["item_id"]
    items[:, 2] = 3 + (items[:, 2] - 2) % 17
    shown = {"item_id": items, "weekday": torch.zeros_like(items), "price": torch.zeros(64, 5)}
    with torch.no_grad():
        verdict = model.objective.discriminator(model.body(model.inputs(shown), items != 0)).squeeze(-1)
    assert (verdict.argmax(1) == 2).float().mean() > 0.5  # .72 here; chance is .2
