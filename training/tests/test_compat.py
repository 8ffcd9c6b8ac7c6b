"""compat = "transformers4rec": what Transformers4Rec does at inference, step by step."""

import dataclasses

import pytest
import torch

from nextitem_training.bodies import BODIES
from nextitem_training.config import ModelConfig
from nextitem_training.errors import ConfigError
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import COMPATS, OBJECTIVES, objective_for
from nextitem_training.special_ids import PADDING

THERE = ModelConfig(
    d_model=16,
    heads=2,
    layers=2,
    side_width=4,
    initializer_range=0.2,
    dropout=0.0,
    layer_norm_eps=1e-6,
    compat="transformers4rec",
)
COMBINATIONS = [(body, name) for body in BODIES for name in BODIES.get(body).objectives]
ITEMS = torch.tensor([[5, 6, 7, 0], [8, 0, 0, 0], [0, 0, 0, 0], [4, 1, 2, 9]])


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def model(request, schema):
    torch.manual_seed(0)
    body, objective = request.param
    return SessionModel(dataclasses.replace(THERE, body=body, pretraining=objective), schema).eval()


@pytest.fixture
def embedded():
    return torch.randn(4, 4, 8)


def make(name):
    config = ModelConfig(d_model=8, heads=2, pretraining=name, compat="transformers4rec")
    return objective_for(config)(config, lambda d_model, heads: None)


def test_every_approach_has_its_way_there():
    assert list(COMPATS) == ["transformers4rec"]
    assert sorted(COMPATS.get("transformers4rec")) == list(OBJECTIVES)
    for name, theirs in COMPATS.get("transformers4rec").items():
        assert theirs.attention == OBJECTIVES.get(name).attention


def test_an_unknown_compatibility_is_refused(schema):
    with pytest.raises(ConfigError, match=r"no compatibility \(compat\) 'transformer4rec'. Did you mean"):
        SessionModel(dataclasses.replace(THERE, compat="transformer4rec"), schema)


def test_an_approach_without_a_way_there_is_refused(monkeypatch):
    monkeypatch.delitem(COMPATS.get("transformers4rec"), "plm")
    with pytest.raises(ConfigError, match="'transformers4rec' knows no pretraining 'plm'; it has clm, mlm, rtd"):
        make("plm")


def test_clm_fills_padding_with_the_learned_embedding_and_masks_nothing(embedded):
    objective = make("clm")
    prediction = objective.prediction(embedded, ITEMS)
    assert prediction.mask.all()
    assert prediction.position.tolist() == [2, 0, 0, 3]
    real = ITEMS != PADDING
    assert torch.equal(prediction.inputs_embeds[real], embedded[real])
    assert (prediction.inputs_embeds[~real] == objective.placeholder).all()


@pytest.mark.parametrize("name", ["mlm", "rtd"])
def test_mlm_and_rtd_put_the_mask_at_step_n_and_leave_padding_as_it_is(embedded, name):
    objective = make(name)
    prediction = objective.prediction(embedded, ITEMS)
    assert prediction.mask.all()
    assert prediction.mask.shape == (4, 5)
    assert prediction.position.tolist() == [3, 1, 0, 4]
    for row, position in enumerate(prediction.position):
        assert torch.equal(prediction.inputs_embeds[row, position], objective.placeholder)
        assert torch.equal(prediction.inputs_embeds[row, :position], embedded[row, :position])
        assert torch.equal(prediction.inputs_embeds[row, position + 1 : 4], embedded[row, position + 1 :])
    assert torch.equal(prediction.inputs_embeds[:3, 4], embedded[:3, 3])
    assert [name for name, _ in objective.named_parameters()] == ["placeholder"]  # no generator


def test_mlm_hides_an_item_and_shows_one_in_training(embedded):
    objective = make("mlm")
    for _ in range(50):
        targets = objective.targets(embedded, ITEMS)
        assert targets.mask.all()
        hidden = (targets.inputs_embeds == objective.placeholder).all(-1)
        assert torch.equal(targets.inputs_embeds[~hidden], embedded[~hidden])
        assert not hidden[ITEMS == PADDING].any()
        assert 1 <= hidden[0].sum() <= 2
        assert 1 <= hidden[3].sum() <= 3
        assert torch.equal(targets.items, ITEMS * (hidden & (ITEMS >= 3)))


def test_plm_hides_the_last_item_and_predicts_from_its_step(embedded):
    objective = make("plm")
    prediction = objective.prediction(embedded, ITEMS)
    assert prediction.mask.all()
    assert prediction.position.tolist() == [2, 0, 0, 3]
    assert prediction.visible[0].int().tolist() == [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 0, 0], [1, 1, 0, 1]]
    assert torch.equal(prediction.inputs_embeds, embedded)


def moved_by_the_last_item(model, batch):
    changed = {name: values.clone() for name, values in batch.items()}
    changed["item_id"][0, -1] = 3 + (batch["item_id"][0, -1] + 1) % 10
    with torch.no_grad():
        return (model.query(changed) - model.query(batch)).abs().max()


def test_there_plm_ignores_the_last_item_and_nothing_else_does(model, batch_of):
    moved = moved_by_the_last_item(model, batch_of([5], 5))
    assert (moved == 0) == (model.objective.attention == "permutation")


def test_an_answer_depends_on_neither_neighbours_nor_width_nor_garbage(model, batch_of):
    """Padding counts, and therefore is always the same."""
    batch = batch_of([3, 1, 5, 0], 5)
    dirty = {name: values.clone() for name, values in batch.items()}
    dirty["weekday"][0, 3:] = 4
    dirty["price"][0, 3:] = 1e3
    with torch.no_grad():
        together = model.query(batch)
        assert torch.isfinite(together).all()
        alone = model.query({name: values[:1, :3] for name, values in batch.items()})
        torch.testing.assert_close(together[:1], alone, atol=2e-5, rtol=1e-4)
        assert torch.equal(model.query(dirty), together)


@pytest.mark.parametrize(("body", "objective"), [(b, a) for b, a in COMBINATIONS if a in ("mlm", "rtd")])
def test_padding_moves_the_answer_of_a_bidirectional_body(schema, batch_of, body, objective):
    """Which a mask would prevent: a wider window gives another answer."""
    config = dataclasses.replace(THERE, body=body, pretraining=objective)
    answers = []
    for compat in ("", "transformers4rec"):
        torch.manual_seed(0)
        model = SessionModel(dataclasses.replace(config, compat=compat), dataclasses.replace(schema, window=9)).eval()
        answers.append([])
        for window in (5, 9):
            model.window = window
            with torch.no_grad():
                answers[-1].append(model.query(batch_of([3], 5)))
    assert torch.equal(*answers[0])
    assert (answers[1][0] - answers[1][1]).abs().max() > 1e-3


@pytest.mark.parametrize(("body", "objective"), [("bert", "mlm"), ("xlnet", "rtd"), ("xlnet", "plm")])
def test_the_library_is_called_as_there(schema, batch_of, body, objective):
    """Without an attention mask; for PLM with the permutation mask of Transformers4Rec's evaluation."""
    model = SessionModel(dataclasses.replace(THERE, body=body, pretraining=objective), schema).eval()
    lengths = [3, 1, 5]
    batch = batch_of(lengths, 5)
    with torch.no_grad():
        embedded = model.inputs(batch)
        further = {}
        if objective == "plm":
            last = torch.tensor(lengths) - 1
            hidden = torch.ones(5, 5).triu(1).repeat(3, 1, 1)
            hidden[torch.arange(3), :, last] = 1
            further = {"perm_mask": hidden, "target_mapping": torch.eye(5).repeat(3, 1, 1)}
            position = last
        else:
            embedded = torch.cat([embedded, embedded[:, -1:]], dim=1)
            position = torch.tensor(lengths)
            embedded[torch.arange(3), position] = model.objective.placeholder
        expected = model.body.encoder(inputs_embeds=embedded, **further)[0][torch.arange(3), position]
        torch.testing.assert_close(model.query(batch), expected, atol=1e-6, rtol=1e-5)


@pytest.mark.slow
def test_training_falls_there_too(model, batch_of):
    """The patterns that are learned are the objective's own; here only that training works."""
    model.train()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    batch = batch_of([6, 6, 5, 4, 6, 3, 6, 6], 6)
    losses = []
    for _ in range(60):
        optimizer.zero_grad()
        total, count = model.loss(batch)
        (total / count).backward()
        optimizer.step()
        losses.append((total / count).item())
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
