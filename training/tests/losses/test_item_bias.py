import dataclasses

import pytest
import torch

from nextitem_training.config import ModelConfig
from nextitem_training.model import SessionModel

BIASED = ModelConfig(d_model=16, heads=2, layers=1, side_width=4, initializer_range=0.2, item_bias=True)


@pytest.fixture(params=[(False, 1.0), (True, 0.1)], ids=["plain", "normalised"])
def both(request, schema):
    """The same model with a bias per item and without."""
    normalize, temperature = request.param
    models = []
    for item_bias in (True, False):
        torch.manual_seed(0)
        config = dataclasses.replace(BIASED, item_bias=item_bias, normalize=normalize, temperature=temperature)
        models.append(SessionModel(config, schema).eval())
    with torch.no_grad():
        models[0].item_bias.copy_(torch.randn(schema.item_count))
    return models


def test_the_bias_is_added_to_the_score_whatever_the_temperature(both, batch_of, schema):
    biased, plain = both
    batch = batch_of([5, 2, 0], 5)
    with torch.no_grad():
        query, table = biased.query(batch), biased.item_table()
        assert query.shape == (3, 17)
        assert (query[:, -1] == 1).all()
        assert torch.equal(table[:, -1], biased.item_bias)
        assert table.shape == (schema.item_count, 17)
        torch.testing.assert_close(biased(batch), plain(batch) + biased.item_bias)
        torch.testing.assert_close(query @ table.T, biased(batch))


def test_the_inputs_do_not_see_it(both, batch_of):
    biased, plain = both
    batch = batch_of([5, 2], 5)
    with torch.no_grad():
        assert torch.equal(biased.inputs(batch), plain.inputs(batch))
        assert torch.equal(biased.query(batch)[:, :-1], plain.query(batch))


def test_rows_of_some_items_are_rows_of_the_table(both):
    codes = torch.tensor([[0, 3], [16, 1]])
    for model in both:
        torch.testing.assert_close(model._known_rows(codes), model.item_table()[3:][codes])


@pytest.mark.parametrize("objective", ["mlm", "rtd"])
def test_it_begins_at_zero_and_learns_who_is_popular(schema, batch_of, objective):
    model = SessionModel(dataclasses.replace(BIASED, pretraining=objective), schema)
    assert not model.item_bias.any()
    batch = batch_of([6] * 8, 6)
    batch["item_id"][:] = 7
    optimizer = torch.optim.SGD([model.item_bias], 1.0)
    for _ in range(3):
        optimizer.zero_grad()
        total, count = model.loss(batch)
        (total / count).backward()
        optimizer.step()
    assert model.item_bias.argmax() == 7
    assert not model.item_bias[:3].any()
