"""What the tests of single bodies share: small settings and masks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch

from nextitem_training.bodies.spec import BodySettings

WIDTH = 16
#: One of each make: attention to all steps and to earlier ones, convolutions, recurrence, windows, relative positions.
#: Where each body takes long, `make test` takes these, and `make test-all` all.
OF_EACH_MAKE = ("bert", "gpt2", "convbert", "gru4rec", "longformer", "xlnet")


def long_for_others(body: str, *more: str) -> object:
    """The parameters of a test that takes long: marked slow, unless the body is one of those for every day."""
    marks = () if body in OF_EACH_MAKE else pytest.mark.slow
    return pytest.param((body, *more), marks=marks, id="-".join((body, *more)))


def small_settings(positions: int, attention: str) -> BodySettings:
    """Three layers of two heads, with weights wide enough apart to tell one step from another."""
    return BodySettings(
        d_model=WIDTH,
        layers=3,
        num_attention_heads=2,
        positions=positions,
        dropout=0.2,
        layer_norm_eps=1e-3,
        initializer_range=0.2,
        attention=attention,
    )


def masks(lengths: Sequence[int], steps: int) -> torch.Tensor:
    """bool [B, steps], True where a step is real."""
    return torch.arange(steps)[None, :] < torch.tensor(lengths)[:, None]
