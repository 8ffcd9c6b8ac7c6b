"""[model]: the session model."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Section, Share
from nextitem_training.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig(Section):
    """The session model: the body and how its output is compared with the items.

    The body's defaults are those of Transformers4Rec. docs/choosing.md compares other values on several data sets.
    """

    table: ClassVar[str] = "[model]"

    body: str = "xlnet"
    """The sequence network between the inputs and the output heads; docs/bodies.md describes each. `nextitem-train --body`
    overrides it."""
    pretraining: str = "mlm"
    """The training objective; docs/pretraining.md describes each and says which bodies support it. `nextitem-train
    --pretraining` overrides it."""
    d_model: PositiveInt = 64
    """D: width of the item embedding, of the body and of the query. It has to be a multiple of twice `heads`."""
    layers: PositiveInt = 2
    """Number of layers of the body."""
    heads: PositiveInt = 4
    """Number of attention heads per layer. Bodies without attention, such as `gru4rec`, ignore it."""
    dropout: Share = 0.3
    """Dropout rate inside the body. `[inputs] dropout` is the rate before it."""
    layer_norm_eps: PositiveFloat = 0.03
    """Epsilon of the body's layer normalisations."""
    initializer_range: PositiveFloat = 0.01
    """Standard deviation of the normal distribution from which embeddings and the body's weights are initialised. A few bodies
    initialise their weights by shape instead, see docs/bodies.md."""
    side_width: PositiveInt = 16
    """Width of the embedding of each feature other than the item. Unused where `[inputs] aggregation` adds features up: all
    have width `d_model` then."""
    normalize: bool = False
    """Scale queries and item embeddings to length 1 before the product, so that scores are cosines. Set `temperature` with
    it."""
    temperature: PositiveFloat = 1.0
    """Scores are divided by it, in training and in serving. With `normalize = true` take about 0.07."""
    item_dropout: Share = 0.0
    """Dropout rate, in training, of the item embeddings that queries are compared with (CORE's robust distance measuring; Hou
    et al., 2022)."""
    item_bias: bool = False
    """Learn one number per item that is added to the item's score."""
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """Share of a session's interactions that `mlm` and `rtd` mask and that `plm` predicts, see docs/pretraining.md.
    `clm` ignores it."""
    generator_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """`rtd` only: width and attention heads of the generator as a share of the body's. The ELECTRA paper takes 0.25 to 0.5."""
    detection_weight: NonNegativeFloat = 1.0
    """`rtd` only: weight of the detection loss beside the losses over items, see docs/pretraining.md."""
    compat: str = ""
    """Mask sessions and read the prediction as another program does, for weights that were trained there, see
    docs/pretraining.md. Empty: nextitem's own way."""

    def __post_init__(self) -> None:
        if self.d_model % (2 * self.heads):
            raise ConfigError(
                f"[model] d_model is {self.d_model} with {self.heads} heads; every head needs an "
                f"even width, so d_model has to be a multiple of {2 * self.heads}."
            )
