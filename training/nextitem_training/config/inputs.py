"""[inputs]: how an interaction's features become one vector."""

from __future__ import annotations

from dataclasses import dataclass

from nextitem_training.config.checks import at_least, one_of, share
from nextitem_training.errors import ConfigError

CONCAT = "concat"
SUM = "sum"
ITEM_MULTIPLIED_SUM = "item-multiplied-sum"
AGGREGATIONS = (CONCAT, SUM, ITEM_MULTIPLIED_SUM)

AS_INPUT = "input"
AS_ITEM = "item"


@dataclass(frozen=True)
class InputsConfig:
    """Embeddings of the features and how they are joined. Names and meanings follow Transformers4Rec where it has them."""

    aggregation: str = CONCAT
    """`concat`: side by side, then one projection to d_model; `sum`: every feature of width d_model, added up;
    `item-multiplied-sum`: the sum of all others times the item's embedding."""
    soft_one_hot: tuple[str, ...] = ()
    """Continuous features that become a mixture of embeddings, by a softmax of a projection of the value."""
    soft_one_hot_count: int = 10
    """How many embeddings such a feature mixes."""
    swap_noise: float = 0.0
    """In training, the share of interactions whose features are taken from others of the batch, feature by feature."""
    layer_norm: bool = False
    """Normalise the joined vector."""
    dropout: float = 0.0
    """Of the joined vector."""
    pretrained_items: str = ""
    """An .npz file with `ids` (raw item ids) [N] and `vectors` float32 [N, P]; items that it lacks get zeros."""
    pretrained_as: str = AS_INPUT
    """`input`: a further feature of each interaction; `item`: projected and added to the item's own embedding, which also
    scores the item."""
    pretrained_frozen: bool = True
    """Keep the vectors as they are and learn the projection alone."""
    pretrained_width: int = 0
    """P, written by training: 0 in the file."""

    def __post_init__(self) -> None:
        one_of("inputs", "aggregation", self.aggregation, AGGREGATIONS)
        one_of("inputs", "pretrained_as", self.pretrained_as, (AS_INPUT, AS_ITEM))
        at_least("inputs", "soft_one_hot_count", self.soft_one_hot_count, 2)
        at_least("inputs", "pretrained_width", self.pretrained_width, 0)
        share("inputs", "swap_noise", self.swap_noise)
        share("inputs", "dropout", self.dropout)
        for name in self.soft_one_hot:
            if self.soft_one_hot.count(name) > 1:
                raise ConfigError(f"[inputs] soft_one_hot lists '{name}' more than once.")
