"""[[heads]]: what is predicted beside the next item."""

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

WIDTH = 1
"""How many numbers a head of either kind gives for a session."""


@dataclass(frozen=True)
class HeadConfig(Section):
    """One further prediction: of a column's value at the interaction that is predicted.

    A column that is constant in a session is a property of the session.
    """

    table: ClassVar[str] = "[[heads]]"

    name: str
    """Of the output in the response."""
    kind: HeadKind
    """`binary`: the probability that the column is 1; `regression`: its value, in the column's own unit."""
    column: str
    """One of [data] targets."""
    weight: NonNegativeFloat = 1.0
    """Of this head's loss beside that of the next item, whose weight is [loss] item_weight."""
    hidden: NonNegativeInt = 0
    """Width of a hidden layer; 0 for none."""

    def __post_init__(self) -> None:
        if not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", self.name) or is_reserved(self.name):
            raise ConfigError(
                f"[[heads]] name is '{self.name}'; it names an output of the served model: letters, digits and underscores, "
                f"a letter first, and none of {', '.join(RESERVED)}, nor with {', '.join(RESERVED_PREFIXES)} first."
            )
