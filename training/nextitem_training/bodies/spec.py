"""What a body is and which bodies there are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from torch import nn

from nextitem_training.config.attention import ATTENTION_KINDS, AttentionKind
from nextitem_training.config.registry import Registry
from nextitem_training.errors import ConfigError
from nextitem_training.pretraining import OBJECTIVES


@dataclass(frozen=True)
class BodySettings:
    """What every architecture is built from; each body names these as its own library does."""

    d_model: int
    layers: int
    num_attention_heads: int
    positions: int
    """The longest sequence: the window and, where the objective asks for it, a [MASK] step."""
    dropout: float
    layer_norm_eps: float
    initializer_range: float
    attention: AttentionKind
    """One of those that the body's BodySpec names."""
    inner: int = 0
    """Width of the feed-forward layers; 0: four times d_model."""
    activation: str = ""
    """Of the feed-forward layers, by Hugging Face's name; empty: the body's own."""

    @property
    def inner_width(self) -> int:
        """Width of the feed-forward layers."""
        return self.inner or 4 * self.d_model

    @property
    def causal(self) -> bool:
        """Whether a step may attend only to itself and to earlier steps."""
        return self.attention == "causal"


@dataclass(frozen=True)
class BodySpec:
    """A body: how it is built and which kinds of attention it can do.

    `build` returns a module whose forward takes inputs_embeds float32 [B, S, D] and mask bool
    [B, S], True where a step is real, and gives float32 [B, S, D]. Built for permutation, forward
    takes a third, visible bool [B, S, S]: whether the query of step i sees step j; without it,
    whatever is real but i itself. At real steps the result must not depend on what padded steps
    hold, nor on the batch; it must be finite everywhere; and tracing must give a graph for any B
    and any S up to `positions`.
    """

    build: Callable[[BodySettings], nn.Module]
    attention: tuple[AttentionKind, ...]

    def __post_init__(self) -> None:
        """Raises ValueError on an unknown kind of attention."""
        for kind in self.attention:
            if kind not in ATTENTION_KINDS:
                raise ValueError(f"There is no attention '{kind}'; a body's are of {', '.join(ATTENTION_KINDS)}.")

    @property
    def objectives(self) -> tuple[str, ...]:
        """The pre-training objectives that make sense with it: those whose attention it can do."""
        return tuple(name for name in OBJECTIVES if OBJECTIVES.get(name).attention in self.attention)


BODIES: Registry[BodySpec] = Registry("body", __package__)

Build = TypeVar("Build", bound=Callable[[BodySettings], nn.Module])


def body(name: str, *, attention: tuple[AttentionKind, ...]) -> Callable[[Build], Build]:
    """Registers the class or function below as a body, see BodySpec. Raises ValueError where the name is taken."""

    def register(build: Build) -> Build:
        BODIES.register(name)(BodySpec(build, attention))
        return build

    return register


def check_combination(body: str, objective: str) -> None:
    """Raises ConfigError where either is unknown or the body cannot be trained in this way."""
    spec = BODIES.get(body)
    needed = OBJECTIVES.get(objective).attention
    if needed not in spec.attention:
        others = [name for name in BODIES if needed in BODIES.get(name).attention]
        raise ConfigError(
            f"The body '{body}' cannot be trained with '{objective}', which needs {needed} attention. "
            f"It takes {' or '.join(spec.objectives)}; '{objective}' goes with {', '.join(others) or 'no body'}."
        )
