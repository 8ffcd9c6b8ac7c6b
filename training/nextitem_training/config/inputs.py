"""[inputs]: how an interaction's features become one vector."""

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

AS_INPUT: Final = "input"
AS_ITEM: Final = "item"


@dataclass(frozen=True)
class InputsConfig(Section):
    """Embeddings of the features and how they are joined. Names and meanings follow Transformers4Rec where it has them."""

    table: ClassVar[str] = "[inputs]"

    aggregation: Aggregation = CONCAT
    """`concat`: side by side, then one projection to d_model; `sum`: every feature of width d_model, added up;
    `item-multiplied-sum`: the sum of all others times the item's embedding."""
    soft_one_hot: Names = ()
    """Continuous features that become a mixture of embeddings, by a softmax of a projection of the value."""
    soft_one_hot_count: Annotated[int, Field(ge=2)] = 10
    """How many embeddings such a feature mixes."""
    swap_noise: Share = 0.0
    """In training, the share of interactions whose features are taken from others of the batch, feature by feature."""
    layer_norm: bool = False
    """Normalise the joined vector."""
    dropout: Share = 0.0
    """Of the joined vector."""
    pretrained_items: str = ""
    """An .npz file with `ids` (raw item ids) [N] and `vectors` float32 [N, P]; items that it lacks get zeros."""
    pretrained_as: Literal["input", "item"] = AS_INPUT
    """`input`: a further feature of each interaction; `item`: projected and added to the item's own embedding, which also
    scores the item."""
    pretrained_frozen: bool = True
    """Keep the vectors as they are and learn the projection alone."""
    pretrained_width: NonNegativeInt = 0
    """P, written by training: 0 in the file."""

    def __post_init__(self) -> None:
        for name in self.soft_one_hot:
            if self.soft_one_hot.count(name) > 1:
                raise ConfigError(f"[inputs] soft_one_hot lists '{name}' more than once.")
