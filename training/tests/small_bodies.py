"""What the tests of single bodies share: small settings and masks."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nextitem_training.bodies.spec import BodySettings

WIDTH = 16


def small_settings(positions: int, attention: str) -> BodySettings:
    """Three layers of two heads, with weights wide enough apart to tell one step from another."""
    return BodySettings(
        d_model=WIDTH,
        layers=3,
        heads=2,
        positions=positions,
        dropout=0.2,
        layer_norm_eps=1e-3,
        initializer_range=0.2,
        attention=attention,
    )


def masks(lengths: Sequence[int], steps: int) -> torch.Tensor:
    """bool [B, steps], True where a step is real."""
    return torch.arange(steps)[None, :] < torch.tensor(lengths)[:, None]
