"""[loss]: the loss over items."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, NonNegativeFloat, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Section, Share
from nextitem_training.errors import ConfigError

FULL: Final = "full"
SAMPLED_SOFTMAX: Final = "sampled-softmax"
GBCE: Final = "gbce"
LossKind = Literal["full", "sampled-softmax", "gbce"]
"""Which loss."""

UNIFORM: Final = "uniform"
POPULARITY: Final = "popularity"
IN_BATCH: Final = "in-batch"
Sampling = Literal["uniform", "popularity", "in-batch"]
"""Where negatives come from."""


@dataclass(frozen=True)
class LossConfig(Section):
    """The loss over items. See docs/inputs-heads-losses.md and, for which to choose, docs/choosing.md."""

    table: ClassVar[str] = "[loss]"

    kind: LossKind = FULL
    """`full`: cross-entropy over the whole catalogue. `sampled-softmax`: cross-entropy over the target and sampled negatives,
    corrected by the log of their sampling probability (Bengio and Senécal, 2008; Yi et al., 2019). `gbce`: generalised binary
    cross-entropy over the target and sampled negatives (gSASRec; Petrov and Macdonald, 2023)."""
    negatives: PositiveInt = 512
    """Number of negatives: per batch with `sampled-softmax`, per target with `gbce`. `full` ignores it."""
    sampling: Sampling = UNIFORM
    """Where negatives come from: `uniform` over all items, `popularity` (by count in training) or `in-batch` (the other
    targets of the batch, at most `negatives` of them). `gbce` needs `uniform`; `full` ignores it."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
    """`gbce` only: the paper's t. 0 is plain binary cross-entropy, 1 ranks as full cross-entropy does."""
    label_smoothing: Share = 0.0
    """`full` only: share of the probability that is spread over all items."""
    item_weight: NonNegativeFloat = 1.0
    """Weight of this loss beside those of `[[heads]]`."""

    def __post_init__(self) -> None:
        if self.label_smoothing and self.kind != FULL:
            raise ConfigError(f"[loss] label_smoothing goes with kind = '{FULL}', not with '{self.kind}'; set it to 0.")
        if self.kind == GBCE and self.sampling != UNIFORM:
            raise ConfigError(f"[loss] kind '{GBCE}' is defined for uniform negatives; set sampling = '{UNIFORM}'.")
