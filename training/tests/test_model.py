import dataclasses

import pytest
import torch

from nextitem_training.bodies import BODIES
from nextitem_training.config import ModelConfig
from nextitem_training.errors import ConfigError
from nextitem_training.model import SessionModel
from training.tests.support.small_bodies import long_for_others

SMALL = ModelConfig(d_model=16, heads=2, layers=1, side_width=4, initializer_range=0.2)
COMBINATIONS = [(body, name) for body in BODIES for name in BODIES.get(body).objectives]


def model_of(body, objective, schema):
    torch.manual_seed(0)
    return SessionModel(dataclasses.replace(SMALL, body=body, pretraining=objective), schema).eval()


@pytest.fixture(params=COMBINATIONS, ids="-".join)
def model(request, schema):
    return model_of(*request.param, schema)


@pytest.fixture(params=[long_for_others(*both) for both in COMBINATIONS])
def model_at_length(request, schema):
    """A model for tests that take long."""
    return model_of(*request.param, schema)


def test_scores_are_query_times_item_table(model, batch_of, schema):
    batch = batch_of([3, 1, 5, 0], 5)
    with torch.no_grad():
        query, table = model.query(batch), model.item_table()
        assert query.shape == (4, 16)
        assert query.dtype == table.dtype == torch.float32
        assert table.shape == (schema.item_count, 16)
        assert torch.isfinite(query).all()  # the empty session too
        assert torch.equal(model(batch), query @ table.T)
        assert torch.equal(model.query(batch), query)  # deterministic
    assert model.item_feature == "item_id"
    assert model.feature_names == schema.feature_names


def test_a_session_is_answered_alone_as_among_others_and_padded_or_not(model, batch_of):
    batch = batch_of([3, 1, 5], 5)
    with torch.no_grad():
        together = model.query(batch)
        alone = model.query({name: values[:1, :3] for name, values in batch.items()})
        # Side features of padded steps are of no account either.
        dirty = {name: values.clone() for name, values in batch.items()}
        dirty["weekday"][0, 3:] = 4
        dirty["price"][0, 3:] = 1e3
        torch.testing.assert_close(together[:1], alone, atol=2e-5, rtol=1e-4)
        torch.testing.assert_close(model.query(dirty), together, atol=2e-5, rtol=1e-4)


def test_the_newest_and_the_oldest_interaction_count(model, batch_of):
    batch = batch_of([5], 5)
    with torch.no_grad():
        query = model.query(batch)
        for step in (0, 4):
            changed = {name: values.clone() for name, values in batch.items()}
            changed["item_id"][0, step] = 3 + (batch["item_id"][0, step] + 1) % 10
            assert (model.query(changed) - query).abs().max() > 1e-4


def test_the_loss_reaches_every_parameter_that_the_query_reads(model, batch_of):
    model.train()
    torch.manual_seed(1)
    model.loss(batch_of([6, 6, 6, 2, 5, 6], 6))[0].backward()  # one more than the window
    unused = {"seg_embed", "r_s_bias"}
    if model.objective.attention != "permutation":
        unused.add("mask_emb")  # where XLNet's query stream begins
    for name, parameter in model.named_parameters():
        # The placeholder of CLM stands in padded steps alone, which no real step sees.
        if "placeholder" in name and model.objective.attention == "causal":
            continue
        if parameter.requires_grad and not unused & set(name.split(".")):
            assert parameter.grad is not None, name
            assert torch.isfinite(parameter.grad).all(), name


def test_a_batch_without_targets_has_no_loss(model, batch_of):
    total, count = model.loss(batch_of([0, 0], 3))
    assert total.item() == count.item() == 0


def test_the_loss_is_a_sum_over_targets_and_says_how_many_they_are(schema, batch_of):
    config = dataclasses.replace(SMALL, body="gpt2", pretraining="clm", dropout=0.0)
    model = SessionModel(config, schema)
    batch = batch_of([4, 2], 5)
    batch["item_id"] = torch.tensor([[5, 1, 7, 8, 0], [9, 4, 0, 0, 0]])
    total, count = model.loss(batch)
    assert count.item() == 3  # 7, 8 and 4; the null item is none
    alone = [model.loss({name: values[[row]] for name, values in batch.items()}) for row in (0, 1)]
    assert [part[1].item() for part in alone] == [2, 1]
    torch.testing.assert_close(alone[0][0] + alone[1][0], total)


def test_normalised_scores_are_cosines_over_the_temperature(schema, batch_of):
    config = dataclasses.replace(SMALL, normalize=True, temperature=0.5)
    model = SessionModel(config, schema).eval()
    with torch.no_grad():
        assert torch.allclose(model.item_table()[3:].norm(dim=1), torch.ones(17))
        assert torch.allclose(model.query(batch_of([2, 4], 4)).norm(dim=1), torch.full((2,), 2.0))


def test_a_traced_query_is_exact_at_other_sizes(model_at_length, batch_of):
    model = model_at_length

    class Query(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, item_id, weekday, price):
            return model.query({"item_id": item_id, "weekday": weekday, "price": price})

    with torch.no_grad():
        example = tuple(batch_of([2, 4], 4).values())
        traced = torch.jit.trace(Query(), example, check_trace=False)
        for lengths, steps in (([1], 1), ([0, 5, 2], 5), ([3] * 64, 3)):
            batch = batch_of(lengths, steps, seed=2)
            expected = model.query(batch)
            torch.testing.assert_close(traced(*batch.values()), expected, atol=5e-5, rtol=1e-4)


def test_unknown_parts_are_refused(schema):
    with pytest.raises(ConfigError, match="cannot be trained with"):
        SessionModel(dataclasses.replace(SMALL, body="bert", pretraining="clm"), schema)


@pytest.mark.parametrize("normalize", [False, True])
def test_items_are_dropped_where_they_are_scored_in_training_alone(schema, normalize):
    torch.manual_seed(0)
    model = SessionModel(dataclasses.replace(SMALL, item_dropout=0.5, normalize=normalize), schema)
    with torch.no_grad():
        table, rows = model.item_table(), model._known_rows(torch.arange(10))
        for dropped in (table[3:], rows):
            assert 0.3 < (dropped == 0).float().mean() < 0.7
        assert not (model.inputs.item_table()[3:] == 0).any()
        model.eval()
        assert not (model.item_table()[3:] == 0).any()
        torch.testing.assert_close(model._known_rows(torch.arange(10)), model.item_table()[3:13])
