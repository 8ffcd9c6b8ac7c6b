"""How an interaction's features become one vector: [inputs] of the configuration."""

from nextitem_training.inputs.aggregation import AGGREGATIONS
from nextitem_training.inputs.imported import ImportedInputs
from nextitem_training.inputs.interaction import InteractionInputs

__all__ = ["AGGREGATIONS", "ImportedInputs", "InteractionInputs"]
