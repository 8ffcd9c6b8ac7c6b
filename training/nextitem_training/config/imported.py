"""[imported]: the shape of a model that another library trained."""

from __future__ import annotations

from typing import Annotated, ClassVar, Literal

from pydantic import Field, NonNegativeInt, Strict
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Names, Section

Sizes = Annotated[tuple[Annotated[int, Field(ge=0)], ...], Strict(False)]
"""A list of integers in TOML."""
Activation = Literal["none", "relu", "gelu", "tanh", "sigmoid", "leaky-relu", "elu", "selu", "silu"]
"""What follows each linear layer."""


@dataclass(frozen=True)
class ImportedConfig(Section):
    """The shape of a model that another library trained, beside what `[model]` and `[inputs]` say of it.

    nextitem-import writes the table into the run directory, and `nextitem-train --init-from` takes it from there; leave it
    out of files of your own.
    """

    table: ClassVar[str] = "[imported]"

    columns: Names = ()
    """The column behind each feature, in the order of the run's schema. Empty: nextitem-train made the model."""
    widths: Sizes = ()
    """Width of each categorical feature's embedding, in the order of the schema."""
    order: Sizes = ()
    """The features' vectors in the order in which they are joined, by place: categorical features first, then either each
    number or the layers over all."""
    number_layers: Sizes = ()
    """Widths of the linear layers over all numbers together. Empty: every number is a vector of its own."""
    number_activation: Activation = "relu"
    """Behind each of `number_layers`."""
    soft_counts: Sizes = ()
    """Number of embeddings that each number's soft one-hot encoding mixes. Empty: numbers are read as they are."""
    soft_widths: Sizes = ()
    """Width of each number's soft one-hot encoding."""
    normalized: Sizes = ()
    """Places of the vectors that have a layer normalisation of their own before they are joined."""
    projection: Sizes = ()
    """Widths of the linear layers between the joined vectors and the objective's mask."""
    projection_activation: Activation = "relu"
    """Behind each of `projection`."""
    before_body: Sizes = ()
    """Widths of the linear layers between the mask and the body."""
    before_activation: Activation = "relu"
    """Behind each of `before_body`."""
    body_width: NonNegativeInt = 0
    """Width of the body's feed-forward layers. 0: four times `[model] d_model`."""
    body_activation: str = ""
    """Activation of the body's feed-forward layers, by Hugging Face's name. Empty: the body's own."""
    body_attention: Literal["", "bidirectional", "causal"] = ""
    """What the body's steps see, where the objective does not say it. Only `xlnet` reads it."""
    after_body: Sizes = ()
    """Widths of the linear layers between the body and the query."""
    after_activation: Activation = "none"
    """Behind each of `after_body`."""
    tied: bool = True
    """Items are scored by their embeddings. `false`: by a table of their own."""
