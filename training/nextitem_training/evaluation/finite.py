"""Checks tensors for NaN and infinite values."""

from __future__ import annotations

from collections.abc import Mapping

import torch

_NAMED = 3


def not_finite(tensors: Mapping[str, torch.Tensor]) -> str:
    """Names of the tensors that hold NaN or an infinite value, the first few of them. Empty if all are finite."""
    wrong = [name for name, tensor in tensors.items() if not is_finite(tensor)]
    more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
    return ", ".join(wrong[:_NAMED]) + more


def is_finite(tensor: torch.Tensor) -> bool:
    """Whether a tensor holds neither NaN nor an infinite value. True of integers and of empty tensors."""
    if not tensor.is_floating_point() or not tensor.numel():
        return True
    # Minimum and maximum are NaN if any value is; torch.isfinite would make three copies of a table of millions of items.
    return bool(torch.isfinite(torch.stack(tensor.detach().aminmax())).all())
