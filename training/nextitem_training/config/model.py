"""[model]: the session model."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Section, Share
from nextitem_training.errors import ConfigError


@dataclass(frozen=True)
class ModelConfig(Section):
    """The session model. Defaults of the body are those of Transformers4Rec."""

    table: ClassVar[str] = "[model]"

    body: str = "xlnet"
    pretraining: str = "mlm"
    d_model: PositiveInt = 64
    """D: width of the item embedding, of the body and of the query."""
    layers: PositiveInt = 2
    heads: PositiveInt = 4
    dropout: Share = 0.3
    layer_norm_eps: PositiveFloat = 0.03
    initializer_range: PositiveFloat = 0.01
    side_width: PositiveInt = 16
    """Width of the embedding of every feature but the item."""
    normalize: bool = False
    """Scale queries and item embeddings to length 1 before they are compared."""
    temperature: PositiveFloat = 1.0
    """Scores are divided by it; 0.07 suits `normalize = true`."""
    item_dropout: Share = 0.0
    """In training, dropout of the item embeddings that queries are compared with (CORE)."""
    item_bias: bool = False
    """Learn a number for each item that is added to its score."""
    mask_probability: Annotated[float, Field(gt=0, lt=1)] = 0.3
    """MLM and RTD: share of a session's interactions that is hidden; PLM: that is predicted."""
    generator_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """RTD: the generator's width and heads as a share of the body's (the paper: a quarter to half)."""
    detection_weight: NonNegativeFloat = 1.0
    """RTD: weight of the detection loss beside the losses over items, see docs/pretraining.md."""
    compat: str = ""
    """Another program's way of masking and of reading the prediction, for models trained there:
    transformers4rec, or none."""

    def __post_init__(self) -> None:
        if self.d_model % (2 * self.heads):
            raise ConfigError(
                f"[model] d_model is {self.d_model} with {self.heads} heads; every head needs an "
                f"even width, so d_model has to be a multiple of {2 * self.heads}."
            )
