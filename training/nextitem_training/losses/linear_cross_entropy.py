"""Cross-entropy over many items without keeping their logits.

A step of 3,000 targets and 43 thousand items has half a gigabyte of logits, which plain autograd writes and reads several
times over. Here loss and gradients are computed for some hundred targets at a time, in the forward pass (as Cut Your Losses,
Wijmans et al. 2025, and Liger, Hsu et al. 2024, do on GPUs). Under autocast products and probabilities are in its type, sums in
float32.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

#: Bytes of a block of probabilities: few enough to stay in a cache that is shared by the processor's cores.
_BLOCK_BYTES = 32 << 20
_LEAST_ROWS = 64


def linear_cross_entropy(queries: Tensor, table: Tensor, targets: Tensor, label_smoothing: float = 0.0) -> Tensor:
    """The sum over N targets of `cross_entropy(queries @ table.T, targets)`, a scalar float32.

    It can be differentiated once, by queries and table.

    Args:
        queries: float32 [N, D], divided by the temperature already.
        table: float32 [V, D].
        targets: int64 [N], from 0 to V - 1.
        label_smoothing: the share of a target that is spread over all V items.
    """
    device = queries.device.type
    product = torch.get_autocast_dtype(device) if torch.is_autocast_enabled(device) else queries.dtype
    with torch.autocast(device, enabled=False):
        return _LinearCrossEntropy.apply(queries, table, targets, label_smoothing, product)


class _LinearCrossEntropy(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, queries: Tensor, table: Tensor, targets: Tensor, smoothing: float, product: torch.dtype
    ) -> Tensor:
        q, t = queries.to(product), table.to(product)
        rows = max(_LEAST_ROWS, _BLOCK_BYTES // (q.element_size() * len(t)))
        loss = queries.new_zeros((), dtype=torch.float32)
        by_queries, by_table = torch.empty_like(q), torch.zeros_like(table)
        spread = smoothing / table.shape[0]
        for start in range(0, len(q), rows):
            part, wanted = q[start : start + rows], targets[start : start + rows, None]
            logits = part @ t.T  # (R, V)
            chances = torch.softmax(logits, dim=1)
            # The best item's chance is at least 1 / V, so its logarithm is safe where a target's may not be.
            best, chance = logits.amax(dim=1, keepdim=True), chances.amax(dim=1, keepdim=True)
            total = best.float() - chance.float().log()  # (R, 1), log of the sum of exponentials
            loss += (total - (1 - smoothing) * logits.gather(1, wanted).float()).sum()
            if smoothing:
                loss -= spread * logits.sum(dtype=torch.float32)
                chances -= spread
            chances.scatter_add_(1, wanted, chances.new_full(wanted.shape, smoothing - 1))
            by_queries[start : start + rows] = chances @ t
            by_table += chances.T @ part
        ctx.save_for_backward(by_queries.to(queries.dtype), by_table)
        return loss

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *outer: Tensor) -> tuple[Tensor | None, ...]:
        by_queries, by_table = ctx.saved_tensors
        return by_queries * outer[0], by_table * outer[0], None, None, None
