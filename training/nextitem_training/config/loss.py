"""[loss]: what makes the next item likely."""

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

UNIFORM: Final = "uniform"
POPULARITY: Final = "popularity"
IN_BATCH: Final = "in-batch"
Sampling = Literal["uniform", "popularity", "in-batch"]


@dataclass(frozen=True)
class LossConfig(Section):
    """The loss over items."""

    table: ClassVar[str] = "[loss]"

    kind: LossKind = FULL
    """`full`: cross-entropy over the whole catalogue; `sampled-softmax`: over the target and sampled negatives, corrected by
    the log of their sampling probability (Bengio and Senécal 2008; Yi et al. 2019); `gbce`: generalised binary cross-entropy
    over the same (gSASRec; Petrov and Macdonald 2023)."""
    negatives: PositiveInt = 512
    """Sampled for each batch (`sampled-softmax`) or for each target (`gbce`)."""
    sampling: Sampling = UNIFORM
    """Where negatives come from: `uniform`, `popularity` (by count in training) or `in-batch` (the batch's other targets)."""
    calibration: Annotated[float, Field(ge=0, le=1)] = 0.75
    """gBCE's t: 0 is binary cross-entropy, 1 ranks as full softmax does."""
    label_smoothing: Share = 0.0
    """`full` alone."""
    item_weight: NonNegativeFloat = 1.0
    """Weight of this loss beside the other heads'."""

    def __post_init__(self) -> None:
        if self.label_smoothing and self.kind != FULL:
            raise ConfigError(f"[loss] label_smoothing goes with kind = '{FULL}', not with '{self.kind}'; set it to 0.")
        if self.kind == GBCE and self.sampling != UNIFORM:
            raise ConfigError(f"[loss] kind '{GBCE}' is defined for uniform negatives; set sampling = '{UNIFORM}'.")
