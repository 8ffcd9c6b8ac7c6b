import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.bodies import BODIES
from nextitem_training.config import InputsConfig, ModelConfig
from nextitem_training.config.inputs import Aggregation
from nextitem_training.errors import ConfigError
from nextitem_training.inputs import AGGREGATIONS, InteractionInputs
from nextitem_training.inputs.soft_one_hot import SoftOneHot
from nextitem_training.inputs.swap_noise import swap
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import OBJECTIVES

SMALL = ModelConfig(d_model=16, heads=2, layers=1, side_width=4, initializer_range=0.2, dropout=0.0)
EVERYTHING = InputsConfig(
    aggregation="sum",
    soft_one_hot=("price",),
    swap_noise=0.3,
    layer_norm=True,
    dropout=0.1,
    pretrained_items="items.npz",
    pretrained_width=6,
    pretrained_frozen=False,
)


def inputs_of(schema, **fields):
    torch.manual_seed(0)
    return InteractionInputs(SMALL, schema, InputsConfig(**fields)).eval()


def vectors_of(schema, width=6):
    vectors = np.random.default_rng(0).standard_normal((schema.item_count, width)).astype(np.float32)
    vectors[:3] = 0
    return vectors


def test_every_aggregation_is_registered():
    assert list(AGGREGATIONS) == sorted(get_args(Aggregation))


def test_concat_is_one_projection_of_all_side_by_side(schema, batch_of):
    inputs, batch = inputs_of(schema), batch_of([3, 5], 5)
    item, weekday = inputs.embeddings
    parts = [item(batch["item_id"]), weekday(batch["weekday"]), inputs.numbers(batch["price"][..., None])]
    expected = torch.cat(parts, dim=-1) @ inputs.join.weight.T + inputs.join.bias
    torch.testing.assert_close(inputs(batch), expected)
    assert [part.shape[-1] for part in parts] == [16, 4, 4]


@pytest.mark.parametrize("aggregation", ["sum", "item-multiplied-sum"])
def test_sums_are_those_of_the_features(schema, batch_of, aggregation):
    inputs, batch = inputs_of(schema, aggregation=aggregation), batch_of([3, 5], 5)
    item, weekday = (
        embedding(batch[name]) for name, embedding in zip(inputs.categorical, inputs.embeddings, strict=True)
    )
    others = weekday + batch["price"][..., None] * inputs.numbers.weight[:, 0] + inputs.numbers.bias
    expected = item + others if aggregation == "sum" else item * others
    torch.testing.assert_close(inputs(batch), expected)


def test_a_product_needs_something_to_multiply_with(schema):
    alone = dataclasses.replace(schema, features=schema.features[:1])
    with pytest.raises(ConfigError, match=r"'item-multiplied-sum' multiplies .* there is no other. Add features to"):
        inputs_of(alone, aggregation="item-multiplied-sum")
    assert inputs_of(alone, aggregation="sum")({"item_id": torch.ones(1, 2, dtype=torch.long)}).shape == (1, 2, 16)


@given(st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=5))
def test_a_soft_one_hot_is_a_mixture_by_the_softmax_of_a_projection(values):
    mixture = SoftOneHot(3, 4, 0.5)
    found = mixture(torch.tensor([values])).detach().numpy()
    table = mixture.table.detach().double().numpy()
    for value, vector in zip(values, found[0], strict=True):
        scores = value * mixture.projection.weight[:, 0].double() + mixture.projection.bias.double()
        weights = np.exp(scores.detach().numpy() - scores.max().item())
        np.testing.assert_allclose(vector, weights @ table / weights.sum(), atol=1e-4)


def test_a_soft_one_hot_feature_is_no_plain_number_any_more(schema, batch_of):
    inputs, batch = inputs_of(schema, soft_one_hot=("price",), soft_one_hot_count=7), batch_of([3, 5], 5)
    assert inputs.numbers is None
    item, weekday = (
        embedding(batch[name]) for name, embedding in zip(inputs.categorical, inputs.embeddings, strict=True)
    )
    expected = inputs.join([item, weekday, inputs.mixtures[0](batch["price"])])
    assert torch.equal(inputs(batch), expected)
    assert inputs.mixtures[0].table.shape == (7, 4)


@given(data=st.data(), share=st.sampled_from([0.0, 0.3, 0.9]))
def test_swap_noise_puts_values_of_other_real_steps_in_the_place_of_real_ones(data, share):
    lengths = data.draw(st.lists(st.integers(0, 4), min_size=1, max_size=5))
    real = torch.arange(4)[None, :] < torch.tensor(lengths)[:, None]
    # All different, so that one can see where a value came from.
    values = (1 + torch.arange(real.numel()).reshape(real.shape)) * real
    swapped = swap({"a": values, "b": values.float()}, real, share)
    for name, found in swapped.items():
        assert found.dtype == (torch.int64 if name == "a" else torch.float32)
        assert not found[~real].any()
        assert torch.isin(found[real], values[real].to(found.dtype)).all()
        if share == 0:
            assert torch.equal(found, values.to(found.dtype))
    assert torch.equal(values, (1 + torch.arange(real.numel()).reshape(real.shape)) * real)  # left as they were


def test_swap_noise_takes_its_share_of_each_feature_apart_and_can_be_repeated():
    real = torch.ones(40, 50, dtype=torch.bool)
    values = torch.arange(2000).reshape(40, 50)
    draws = []
    for _ in range(2):
        torch.manual_seed(5)
        draws.append(swap({"a": values, "b": values}, real, 0.2))
    moved = {name: found != values for name, found in draws[0].items()}
    for name in moved:
        assert torch.equal(draws[0][name], draws[1][name])
        assert 0.16 < moved[name].float().mean() < 0.24  # every draw is another step's
    assert 0.01 < (moved["a"] & moved["b"]).float().mean() < 0.08  # 0.2 squared: by themselves


def test_swap_noise_acts_in_training_alone(schema, batch_of):
    inputs, batch = inputs_of(schema, swap_noise=0.5), batch_of([5, 4, 5], 5)
    clean = inputs(batch)
    assert torch.equal(clean, inputs_of(schema)(batch))
    inputs.train()
    assert not torch.equal(inputs(batch), clean)
    assert torch.equal(inputs(batch, swapped=False), clean)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
def test_targets_are_never_swapped(schema, batch_of, objective, monkeypatch):
    body = next(name for name in ("xlnet", *BODIES) if objective in BODIES.get(name).objectives)
    config = dataclasses.replace(SMALL, body=body, pretraining=objective)
    model = SessionModel(config, schema, inputs=InputsConfig(swap_noise=0.9))
    batch = batch_of([6, 5], 6)
    items = batch["item_id"]
    seen = []
    targets_of = model.objective.targets
    monkeypatch.setattr(model.objective, "targets", lambda *given: seen.append(targets_of(*given)) or seen[-1])
    before = {name: values.clone() for name, values in batch.items()}
    for _ in range(10):
        model.loss(batch)
    for targets in seen:
        own = items[:, 1:] if objective == "clm" else items
        wanted = targets.items != 0
        assert torch.equal(targets.items[wanted], own[wanted])
    assert all(torch.equal(values, before[name]) for name, values in batch.items())


def test_what_is_judged_under_rtd_is_not_swapped(schema, batch_of, monkeypatch):
    model = SessionModel(dataclasses.replace(SMALL, pretraining="rtd"), schema, inputs=InputsConfig(swap_noise=0.9))
    monkeypatch.setattr(model.objective, "_corrupt", lambda model, guess, hidden, items: items)
    read = []
    model.inputs.join.register_forward_hook(lambda module, parts, result: read.append(parts[0][0]))
    batch = batch_of([6, 6], 6)
    model.loss(batch)
    own = model.inputs.embeddings[0](batch["item_id"])
    assert not torch.equal(read[0], own)
    assert torch.equal(read[1], own)


def test_the_joined_vector_is_normalised_and_then_dropped_out(schema, batch_of):
    batch = batch_of([5, 4], 5)
    plain = inputs_of(schema)(batch)
    normalised = inputs_of(schema, layer_norm=True, dropout=0.5)(batch)
    centred = plain - plain.mean(-1, keepdim=True)
    torch.testing.assert_close(normalised, centred / (plain.var(-1, correction=0, keepdim=True) + 1e-5).sqrt())
    dropped = inputs_of(schema, layer_norm=True, dropout=0.5).train()(batch)
    gone = dropped == 0
    assert 0.3 < gone.float().mean() < 0.7
    torch.testing.assert_close(dropped[~gone], 2 * normalised[~gone])


@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_pretrained_vectors_are_projected_into_a_further_feature(schema, batch_of, aggregation):
    inputs, batch = inputs_of(schema, aggregation=aggregation, pretrained_width=6), batch_of([5, 4], 5)
    vectors = vectors_of(schema)
    inputs.pretrained.fill(vectors)
    parts = [*inputs._parts(batch)]
    assert len(parts) == 4
    expected = torch.from_numpy(vectors)[batch["item_id"]] @ inputs.pretrained.projection.weight.T
    torch.testing.assert_close(parts[3], expected)
    torch.testing.assert_close(inputs(batch), inputs.join(parts))
    assert inputs.item_table() is inputs.embeddings[0].weight


def test_as_items_they_are_added_to_the_item_in_input_and_output(schema, batch_of):
    fields = {"pretrained_width": 6, "pretrained_as": "item"}
    model = SessionModel(SMALL, schema, inputs=InputsConfig(**fields)).eval()
    vectors, batch = vectors_of(schema), batch_of([5, 4], 5)
    model.inputs.pretrained.fill(vectors)
    weight = model.inputs.embeddings[0].weight
    table = weight + torch.from_numpy(vectors) @ model.inputs.pretrained.projection.weight.T
    torch.testing.assert_close(model.item_table(), table)
    torch.testing.assert_close(model.inputs._parts(batch)[0], table[batch["item_id"]])
    assert torch.equal(model.item_table()[:3], weight[:3])  # zeros stay zeros
    codes = torch.tensor([[0, 4], [7, 1]])
    torch.testing.assert_close(model._known_rows(codes), model.item_table()[3:][codes])


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("pretrained_as", ["input", "item"])
def test_frozen_vectors_stay_as_they_are_and_others_learn(schema, batch_of, frozen, pretrained_as):
    chosen = InputsConfig(pretrained_width=6, pretrained_as=pretrained_as, pretrained_frozen=frozen)
    model = SessionModel(SMALL, schema, inputs=chosen)
    model.inputs.pretrained.fill(vectors_of(schema))
    before = model.inputs.pretrained.vectors.clone()
    optimizer = torch.optim.SGD(model.parameters(), 0.1)
    model.loss(batch_of([6, 6, 5], 6))[0].backward()
    assert model.inputs.pretrained.projection.weight.grad.any()
    optimizer.step()
    assert torch.equal(model.inputs.pretrained.vectors, before) == frozen
    assert "inputs.pretrained.vectors" in model.state_dict()


@pytest.mark.parametrize("pretrained_as", ["input", "item"])
@pytest.mark.parametrize("normalize", [False, True])
def test_a_folded_model_scores_as_before_and_holds_no_vectors(schema, batch_of, pretrained_as, normalize):
    config = dataclasses.replace(SMALL, normalize=normalize, item_bias=True)
    model = SessionModel(config, schema, inputs=InputsConfig(pretrained_width=600, pretrained_as=pretrained_as)).eval()
    model.inputs.pretrained.fill(vectors_of(schema, 600))
    batch = batch_of([5, 4, 0], 5)
    with torch.no_grad():
        before = model(batch)
        torch.testing.assert_close(model.fold()(batch), before, atol=1e-5, rtol=1e-5)
        assert all(600 not in value.shape for value in model.state_dict().values())
        torch.testing.assert_close(model.fold()(batch), before, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize("aggregation", get_args(Aggregation))
def test_everything_at_once_trains_every_weight_of_the_inputs(schema, batch_of, objective, aggregation):
    body = next(name for name in ("xlnet", *BODIES) if objective in BODIES.get(name).objectives)
    config = dataclasses.replace(SMALL, body=body, pretraining=objective, item_bias=True)
    model = SessionModel(config, schema, inputs=dataclasses.replace(EVERYTHING, aggregation=aggregation))
    model.inputs.pretrained.fill(vectors_of(schema))
    model.loss(batch_of([6, 6, 5, 6], 6))[0].backward()
    for name, parameter in [*model.inputs.named_parameters(), ("item_bias", model.item_bias)]:
        assert parameter.grad is not None, name
        assert torch.isfinite(parameter.grad).all()
        assert parameter.grad.any(), name


def test_weights_are_named_and_drawn_as_before_where_nothing_is_set(schema):
    torch.manual_seed(0)
    state = SessionModel(SMALL, schema).state_dict()
    inputs = [name for name in state if name.startswith("inputs.")]
    assert inputs == [
        "inputs.embeddings.0.weight",
        "inputs.embeddings.1.weight",
        "inputs.numbers.weight",
        "inputs.numbers.bias",
        "inputs.join.weight",
        "inputs.join.bias",
    ]
    assert {name.split(".")[0] for name in state} == {"inputs", "objective", "body"}


def test_a_traced_model_with_everything_is_exact_at_other_sizes(schema, batch_of):
    config = dataclasses.replace(SMALL, item_bias=True)
    model = SessionModel(config, schema, inputs=EVERYTHING).eval()
    model.inputs.pretrained.fill(vectors_of(schema))

    class Query(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.model = model

        def forward(self, item_id, weekday, price):
            return self.model.query({"item_id": item_id, "weekday": weekday, "price": price})

    with torch.no_grad():
        traced = torch.jit.trace(Query(), tuple(batch_of([2, 4], 4).values()), check_trace=False)
        batch = batch_of([0, 5, 2], 5, seed=2)
        torch.testing.assert_close(traced(*batch.values()), model.query(batch), atol=5e-5, rtol=1e-4)
