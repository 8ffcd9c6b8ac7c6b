import math

import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from nextitem_training.losses import linear_cross_entropy as module
from nextitem_training.losses.linear_cross_entropy import linear_cross_entropy


def _plain(queries, table, targets, smoothing):
    return nn.functional.cross_entropy(queries @ table.T, targets, reduction="sum", label_smoothing=smoothing)


def _gradients(function, queries, table, targets, smoothing):
    queries, table = queries.clone().requires_grad_(), table.clone().requires_grad_()
    loss = function(queries, table, targets, smoothing)
    (3 * loss).backward()
    return loss.detach(), queries.grad, table.grad


def _bounds(queries, table):
    """How far loss and gradients in float32 may be from the true ones, by the usual bounds on rounding errors.

    A sum of n products has an error of at most n eps times the sum of the products' magnitudes; an exponential's relative
    error is its argument's absolute one. Returns a number, [N, D] and [V, D].
    """
    eps = torch.finfo(torch.float32).eps
    targets, width, items = *queries.shape, len(table)
    largest = (queries.abs() @ table.abs().T).amax(dim=1)  # (N,), of a logit's products together
    logit = (width + 8) * eps * largest
    logarithm = logit + (items + 8) * eps
    loss = (logit + logarithm + (targets + 8) * eps * (largest + math.log(items))).sum()
    chances = 2 * logit + (items + 8) * eps  # of all items together, whose chances sum to 1
    by_queries = (chances + 2 * (items + 8) * eps)[:, None] * table.abs().amax(dim=0)
    by_table = ((chances + 2 * (targets + 8) * eps)[:, None] * queries.abs()).sum(dim=0).expand_as(table)
    return loss, 3 * by_queries, 3 * by_table


@given(
    targets=st.integers(1, 300),
    items=st.integers(1, 50),
    scale=st.sampled_from([0.1, 1.0, 30.0]),
    smoothing=st.sampled_from([0.0, 0.1]),
    seed=st.integers(0, 2**31),
)
def test_loss_and_gradients_are_those_of_all_logits_at_once(targets, items, scale, smoothing, seed):
    random = torch.Generator().manual_seed(seed)
    queries = scale * torch.randn(targets, 8, generator=random)
    table = torch.randn(items, 8, generator=random)
    wanted = torch.randint(items, (targets,), generator=random)
    ours = _gradients(linear_cross_entropy, queries, table, wanted, smoothing)
    true = _gradients(_plain, queries.double(), table.double(), wanted, smoothing)
    for one, other, bound in zip(ours, true, _bounds(queries.double(), table.double()), strict=True):
        assert ((one - other).abs() <= bound).all()


def test_a_target_that_is_hopeless_has_its_loss_and_gradient():
    queries, table = torch.tensor([[400.0]]), torch.tensor([[1.0], [-1.0]])
    loss, by_queries, _ = _gradients(linear_cross_entropy, queries, table, torch.tensor([1]), 0.0)
    assert loss == 800
    assert by_queries == 6


def test_blocks_do_not_show(monkeypatch):
    random = torch.Generator().manual_seed(1)
    queries, table = torch.randn(200, 4, generator=random), torch.randn(11, 4, generator=random)
    wanted = torch.randint(11, (200,), generator=random)
    whole = _gradients(linear_cross_entropy, queries, table, wanted, 0.0)
    monkeypatch.setattr(module, "_BLOCK_BYTES", 0)
    for a, b in zip(_gradients(linear_cross_entropy, queries, table, wanted, 0.0), whole, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5)


def test_under_autocast_products_are_rounded_and_the_result_is_near():
    random = torch.Generator().manual_seed(2)
    queries, table = torch.randn(100, 16, generator=random), torch.randn(50, 16, generator=random)
    wanted = torch.randint(50, (100,), generator=random)
    exact = _gradients(linear_cross_entropy, queries, table, wanted, 0.0)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = _gradients(linear_cross_entropy, queries, table, wanted, 0.0)
    assert rounded[0].dtype == torch.float32
    assert rounded[0] != exact[0]
    for a, b in zip(rounded, exact, strict=True):
        assert (a - b).norm() < 0.02 * b.norm()
