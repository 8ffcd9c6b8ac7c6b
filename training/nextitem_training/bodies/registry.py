"""What a body is and which bodies there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from nextitem_training.errors import ConfigError
from nextitem_training.registry import Registry


@dataclass(frozen=True)
class BodySettings:
    """What every architecture is built from; each body names these as its own library does."""

    d_model: int
    layers: int
    heads: int
    positions: int
    """The longest sequence: the window and, where the approach asks for it, a [MASK] step."""
    dropout: float
    layer_norm_eps: float
    initializer_range: float
    causal: bool
    """Whether a step may attend only to itself and to earlier steps."""


@dataclass(frozen=True)
class BodySpec:
    """A body: how it is built and which pre-training approaches make sense with it.

    `build` returns a module whose forward takes inputs_embeds float32 [B, S, D] and mask bool
    [B, S], True where a step is real, and gives float32 [B, S, D]. At real steps the result must
    not depend on what padded steps hold, nor on the batch; it must be finite everywhere; and
    tracing must give a graph for any B and any S up to `positions`.
    """

    build: Callable[[BodySettings], nn.Module]
    approaches: tuple[str, ...]


BODIES: Registry[BodySpec] = Registry("body")


def check_combination(body: str, approach: str) -> None:
    """Raises ConfigError where the body is unknown or cannot be trained in this way."""
    fitting = BODIES.get(body).approaches
    if approach not in fitting:
        others = [name for name in BODIES if approach in BODIES.get(name).approaches]
        raise ConfigError(
            f"The body '{body}' cannot be trained with '{approach}'. It takes "
            f"{' or '.join(fitting)}; '{approach}' goes with {', '.join(others) or 'no body'}."
        )
