import dataclasses
from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.bodies import BODIES
from nextitem_training.config import LossConfig, ModelConfig
from nextitem_training.config.loss import LossKind
from nextitem_training.errors import ConfigError
from nextitem_training.losses import LOSSES, Items
from nextitem_training.losses.sampling import SAMPLERS
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import OBJECTIVES

V, D = 30, 8
SMALL = ModelConfig(d_model=16, heads=2, layers=1, side_width=4, initializer_range=0.2, dropout=0.0, item_bias=True)
WAYS = ("uniform", "popularity", "in-batch")
COUNTS = np.arange(V, 0, -1) + 3


def loss_of(kind, count=V, **fields):
    loss = LOSSES.get(kind)(LossConfig(kind=kind, **fields), count)
    loss.take_counts(COUNTS[:count])
    return loss


def items_of(table):
    return Items(lambda: table, lambda places: table[places])


@pytest.fixture
def drawn():
    """Queries [N, D], a table [V, D] and targets that follow the counts."""
    random = torch.Generator().manual_seed(0)
    targets = torch.multinomial(torch.from_numpy(COUNTS).float(), 200, replacement=True, generator=random)
    return torch.randn(200, D, generator=random), torch.randn(V, D, generator=random) / 3, targets


def test_every_loss_and_way_of_sampling_is_registered():
    assert list(LOSSES) == sorted(get_args(LossKind))
    assert list(SAMPLERS) == sorted(WAYS)


@given(smoothing=st.sampled_from([0.0, 0.1, 0.6]), count=st.integers(0, 5))
def test_full_is_the_cross_entropy_over_all_items(smoothing, count):
    queries, table = torch.randn(count, D), torch.randn(V, D)
    targets = torch.randint(V, (count,))
    logs = (queries @ table.T).log_softmax(dim=-1)
    own = logs[torch.arange(count), targets]
    expected = -((1 - smoothing) * own + smoothing * logs.mean(-1)).sum()
    torch.testing.assert_close(loss_of("full", label_smoothing=smoothing)(queries, items_of(table), targets), expected)


def direct_sampled_softmax(queries, table, targets, negatives, expected):
    total = 0.0
    for row, target in enumerate(targets.tolist()):
        scores = (table @ queries[row]).double()
        others = [scores[j].exp() / expected[row, m] for m, j in enumerate(negatives.tolist()) if j != target]
        total -= torch.log(scores[target].exp() / (scores[target].exp() + sum(others)))
    return total


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("negatives", [7, 500])
def test_sampled_softmax_is_its_formula(drawn, way, negatives):
    queries, table, targets = (values[:40] if len(values) == 200 else values for values in drawn)
    loss = loss_of("sampled-softmax", sampling=way, negatives=negatives)
    torch.manual_seed(1)
    found = loss(queries, items_of(table), targets)
    torch.manual_seed(1)
    sample = loss.sampler(targets)
    share = torch.from_numpy(COUNTS / COUNTS.sum())
    count = len(sample.items)
    if way == "uniform":
        expected = torch.full((40, count), count / V)
    elif way == "popularity":
        expected = (share[sample.items] * count).expand(40, count)
    else:
        assert count == min(40, negatives)
        torch.manual_seed(1)
        inside = torch.isin(torch.arange(40), torch.randperm(40)[:negatives])
        expected = share[sample.items] * (count - inside.double())[:, None]
    direct = direct_sampled_softmax(queries, table, targets, sample.items, expected)
    torch.testing.assert_close(found.double(), direct, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("way", ["uniform", "popularity"])
def test_draws_follow_what_the_correction_says(way):
    loss = loss_of("sampled-softmax", sampling=way, negatives=40_000)
    sample = loss.sampler(torch.zeros(1, dtype=torch.long))
    found = torch.bincount(sample.items, minlength=V)
    expected = torch.zeros(V).scatter(0, sample.items, sample.log_expected[0].exp())
    drawn = found > 100
    torch.testing.assert_close(found[drawn].float(), expected[drawn], rtol=0.3, atol=30)
    assert abs(found[drawn] - expected[drawn]).sum() / 40_000 < 0.03


@pytest.mark.parametrize("way", WAYS)
def test_the_sum_over_negatives_estimates_that_over_all_others_without_bias(drawn, way):
    """And so the loss approaches the full one with more negatives."""
    queries, table, targets = drawn
    target, query = targets[:1], queries[:1]
    scores = (query @ table.T)[0]
    true = scores.exp().sum() - scores[target].exp().sum()
    sampler = loss_of("sampled-softmax", sampling=way, negatives=64).sampler
    shares = torch.from_numpy(COUNTS).float()
    estimates = []
    for _ in range(3000):
        batch = target
        if way == "in-batch":
            batch = torch.cat([target, torch.multinomial(shares, 64, replacement=True)])
        sample = sampler(batch)
        terms = (scores[sample.items] - sample.log_expected[0]).exp()
        estimates.append(terms[sample.items != target].sum())
    estimates = torch.stack(estimates)
    error = estimates.std() / len(estimates) ** 0.5
    assert error < 0.05 * true
    assert abs(estimates.mean() - true) < 4 * error


@pytest.mark.parametrize("way", ["uniform", "popularity"])
def test_sampled_softmax_approaches_full_softmax_in_value_and_gradient(drawn, way):
    queries, table, targets = drawn

    def value_and_gradient(loss):
        own = table.clone().requires_grad_()
        value = loss(queries, items_of(own), targets)
        value.backward()
        return value.item(), own.grad

    full, gradient = value_and_gradient(loss_of("full"))
    errors = []
    for negatives in (20, 20_000):
        found, direction = value_and_gradient(loss_of("sampled-softmax", sampling=way, negatives=negatives))
        errors.append((abs(found - full) / full, ((direction - gradient).norm() / gradient.norm()).item()))
    assert errors[1][0] < 0.02 < errors[0][0] or errors[1][0] < errors[0][0] / 2
    assert errors[1][1] < 0.1 < errors[0][1]


def test_without_the_correction_it_would_not(drawn):
    """The test above can fail: popular negatives taken at face value."""
    queries, table, targets = drawn
    items = Items(lambda: popular, lambda places: popular[places])
    queries = queries + 1
    popular = table + (torch.arange(V) < V // 2)[:, None] / 3  # scores go with counts
    loss = loss_of("sampled-softmax", sampling="popularity", negatives=20_000)
    full = loss_of("full")(queries, items, targets)
    assert abs(loss(queries, items, targets) - full) / full < 0.02
    loss.sampler.log_share.fill_(-np.log(V))
    assert abs(loss(queries, items, targets) - full) / full > 0.05


def direct_gbce(queries, table, targets, negatives, beta):
    total = 0.0
    for row, target in enumerate(targets.tolist()):
        chance = torch.sigmoid(table.double() @ queries[row].double())
        own = beta * torch.log(chance[target])
        total -= (own + torch.log(1 - chance[negatives[row]]).sum()) / (negatives.shape[1] + 1)
    return total


@given(t=st.floats(0, 1), negatives=st.integers(1, 40), count=st.integers(2, V), rows=st.integers(1, 4))
def test_gbce_is_its_formula(t, negatives, count, rows):
    queries, table, targets = torch.randn(rows, D) / 3, torch.randn(count, D), torch.randint(count, (rows,))
    loss = loss_of("gbce", count, calibration=t, negatives=negatives)
    torch.manual_seed(1)
    found = loss(queries, items_of(table), targets)
    torch.manual_seed(1)
    k = min(negatives, count - 1)
    drawn = torch.randint(count - 1, (rows, k))
    drawn = drawn + (drawn >= targets[:, None])
    assert (drawn != targets[:, None]).all()
    assert drawn.max() < count
    alpha = k / (count - 1)
    beta = alpha * (t * (1 - 1 / alpha) + 1 / alpha)
    torch.testing.assert_close(found.double(), direct_gbce(queries, table, targets, drawn, beta), rtol=1e-4, atol=1e-5)


def test_gbce_with_t_0_is_binary_cross_entropy(drawn):
    queries, table, targets = drawn
    torch.manual_seed(1)
    found = loss_of("gbce", calibration=0.0, negatives=5)(queries, items_of(table), targets)
    torch.manual_seed(1)
    negatives = torch.randint(V - 1, (200, 5))
    negatives = negatives + (negatives >= targets[:, None])
    chosen = torch.cat([targets[:, None], negatives], dim=1)
    scores = (table[chosen] @ queries[..., None]).squeeze(-1)
    labels = torch.zeros(200, 6)
    labels[:, 0] = 1
    expected = torch.nn.functional.binary_cross_entropy_with_logits(scores, labels, reduction="none").mean(-1).sum()
    torch.testing.assert_close(found, expected)


def test_gbce_needs_a_second_item():
    with pytest.raises(ConfigError, match="'gbce' needs an item beside the target, and the catalogue has 1"):
        loss_of("gbce", 1)


@pytest.mark.parametrize("way", ["popularity", "in-batch"])
def test_a_loss_that_needs_counts_says_so(way):
    loss = LOSSES.get("sampled-softmax")(LossConfig(kind="sampled-softmax", sampling=way), V)
    with pytest.raises(RuntimeError, match="does not know the items' counts; call take_counts"):
        loss(torch.randn(2, D), items_of(torch.randn(V, D)), torch.tensor([1, 2]))


SAMPLED = [("sampled-softmax", way) for way in WAYS] + [("gbce", "uniform")]


@pytest.mark.parametrize(("kind", "way"), SAMPLED)
def test_nothing_to_predict_is_no_loss(kind, way):
    queries = torch.randn(0, D, requires_grad=True)
    loss = loss_of(kind, sampling=way)(queries, items_of(torch.randn(V, D)), torch.empty(0, dtype=torch.long))
    assert loss.item() == 0.0
    loss.backward()


@pytest.mark.parametrize("count", [1, 2])
def test_targets_that_are_all_the_same_item_have_a_finite_loss(count):
    """All negatives are the target."""
    queries = torch.randn(count, D, requires_grad=True)
    loss = loss_of("sampled-softmax", sampling="in-batch")(
        queries, items_of(torch.randn(V, D)), torch.full((count,), 3)
    )
    loss.backward()
    assert loss.item() == pytest.approx(0, abs=1e-6)
    assert torch.isfinite(queries.grad).all()


@pytest.mark.parametrize("objective", list(OBJECTIVES))
@pytest.mark.parametrize(("kind", "way"), SAMPLED)
def test_every_approach_trains_with_every_loss_and_none_scores_the_catalogue(
    schema, batch_of, objective, kind, way, monkeypatch
):
    body = next(name for name in ("xlnet", *BODIES) if objective in BODIES.get(name).objectives)
    config = dataclasses.replace(SMALL, body=body, pretraining=objective)
    model = SessionModel(config, schema, loss=LossConfig(kind=kind, sampling=way, negatives=6))
    model.criterion.take_counts(np.arange(17, 0, -1))
    batch = batch_of([6, 6, 5], 6)
    if objective != "rtd":  # its generator draws from all items by their chances
        monkeypatch.setattr(SessionModel, "item_table", None)
    model.loss(batch)[0].backward()
    gradient = model.inputs.embeddings[0].weight.grad
    assert torch.isfinite(gradient).all()
    assert model.item_bias.grad.any()
    assert set(model.state_dict()) == set(SessionModel(config, schema).state_dict())  # a loss keeps nothing
