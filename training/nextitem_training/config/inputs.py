"""[inputs]: how the features of an interaction become one vector."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, NonNegativeInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Names, Section, Share
from nextitem_training.errors import ConfigError

CONCAT: Final = "concat"
SUM: Final = "sum"
ITEM_MULTIPLIED_SUM: Final = "item-multiplied-sum"
Aggregation = Literal["concat", "sum", "item-multiplied-sum"]
"""How feature embeddings are combined."""

AS_INPUT: Final = "input"
AS_ITEM: Final = "item"


@dataclass(frozen=True)
class InputsConfig(Section):
    """Embeddings of the features and how they are combined into one vector of width `d_model`.

    Names and meanings follow Transformers4Rec where it has them. See docs/inputs-heads-losses.md.
    """

    table: ClassVar[str] = "[inputs]"

    aggregation: Aggregation = CONCAT
    """`concat`: embeddings side by side, then one projection to `d_model`. `sum`: all of width `d_model`, added up.
    `item-multiplied-sum`: the sum of all other features times the item's embedding; needs a feature beside the item."""
    soft_one_hot: Names = ()
    """Features of `[data] continuous` or `log_continuous` that become a mixture of learned embeddings, weighted by a softmax
    of a projection of the value (Transformers4Rec's SoftEmbedding)."""
    soft_one_hot_count: Annotated[int, Field(ge=2)] = 10
    """Number of embeddings that each `soft_one_hot` feature mixes."""
    swap_noise: Share = 0.0
    """Share of feature values that training replaces by values of other interactions of the batch, drawn for each feature
    separately (Transformers4Rec's StochasticSwapNoise)."""
    layer_norm: bool = False
    """Apply layer normalisation to the combined vector."""
    dropout: Share = 0.0
    """Dropout rate of the combined vector, after the layer normalisation."""
    pretrained_items: str = ""
    """Path of an .npz file with `ids` [N], raw item ids, and `vectors` float32 [N, P], for example text embeddings. Items
    without a vector get zeros. Empty: no pretrained vectors."""
    pretrained_as: Literal["input", "item"] = AS_INPUT
    """`input`: the vector is a further input feature. `item`: its projection is added to the item embedding, as input and where
    items are scored."""
    pretrained_frozen: bool = True
    """Keep the vectors fixed and learn only their projection. `false`: train the vectors too."""
    pretrained_width: NonNegativeInt = 0
    """P, the width of the vectors. nextitem-train sets it in the run directory; leave it out of the file."""

    def __post_init__(self) -> None:
        for name in self.soft_one_hot:
            if self.soft_one_hot.count(name) > 1:
                raise ConfigError(f"[inputs] soft_one_hot lists '{name}' more than once.")
