"""[[heads]]: predictions beside the next item."""

from __future__ import annotations

import re
from typing import ClassVar, Final, Literal

from pydantic import NonNegativeFloat, NonNegativeInt
from pydantic.dataclasses import dataclass

from nextitem_bundle.names import RESERVED, RESERVED_PREFIXES, is_reserved
from nextitem_training.config.section import Section
from nextitem_training.errors import ConfigError

BINARY: Final = "binary"
REGRESSION: Final = "regression"
HeadKind = Literal["binary", "regression"]
"""What a head predicts."""

WIDTH = 1
"""Numbers per session that a head of either kind gives."""


@dataclass(frozen=True)
class HeadConfig(Section):
    """One further output: the value of a column at the session's next interaction. One `[[heads]]` table per output.

    For a property of the whole session use a column that is constant within each session. See docs/inputs-heads-losses.md.
    """

    table: ClassVar[str] = "[[heads]]"

    name: str
    """Name of the output in the response: letters, digits and underscores, a letter first. Not the name of a column that
    callers send, nor one that the served model uses itself, such as `scores`."""
    kind: HeadKind
    """`binary`: the probability that the column is 1. `regression`: the column's value, in its own unit."""
    column: str
    """The column to predict, one of `[data] targets`."""
    weight: NonNegativeFloat = 1.0
    """Weight of this head's loss. The weight of the loss over items is `[loss] item_weight`."""
    hidden: NonNegativeInt = 0
    """Width of a hidden layer with GELU. 0: a linear head."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", self.name) or is_reserved(self.name):
            raise ConfigError(
                f"[[heads]] name is '{self.name}'; it names an output of the served model: letters, digits and underscores, "
                f"a letter first, and none of {', '.join(RESERVED)}, nor with {', '.join(RESERVED_PREFIXES)} first."
            )
