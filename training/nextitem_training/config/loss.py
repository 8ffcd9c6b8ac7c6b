"""[loss]: what makes the next item likely."""

from __future__ import annotations

from dataclasses import dataclass

from nextitem_training.config.checks import at_least, not_negative, one_of, share
from nextitem_training.errors import ConfigError

FULL = "full"
SAMPLED_SOFTMAX = "sampled-softmax"
GBCE = "gbce"
LOSSES = (FULL, SAMPLED_SOFTMAX, GBCE)

UNIFORM = "uniform"
POPULARITY = "popularity"
IN_BATCH = "in-batch"


@dataclass(frozen=True)
class LossConfig:
    """The loss over items."""

    kind: str = FULL
    """`full`: cross-entropy over the whole catalogue; `sampled-softmax`: over the target and sampled negatives, corrected by
    the log of their sampling probability (Bengio and Senécal 2008; Yi et al. 2019); `gbce`: generalised binary cross-entropy
    over the same (gSASRec; Petrov and Macdonald 2023)."""
    negatives: int = 512
    """Sampled for each batch (`sampled-softmax`) or for each target (`gbce`)."""
    sampling: str = UNIFORM
    """Where negatives come from: `uniform`, `popularity` (by count in training) or `in-batch` (the batch's other targets)."""
    calibration: float = 0.75
    """gBCE's t: 0 is binary cross-entropy, 1 ranks as full softmax does."""
    label_smoothing: float = 0.0
    """`full` alone."""
    item_weight: float = 1.0
    """Weight of this loss beside the other heads'."""

    def __post_init__(self) -> None:
        one_of("loss", "kind", self.kind, LOSSES)
        one_of("loss", "sampling", self.sampling, (UNIFORM, POPULARITY, IN_BATCH))
        at_least("loss", "negatives", self.negatives, 1)
        share("loss", "label_smoothing", self.label_smoothing)
        not_negative("loss", "item_weight", self.item_weight)
        if not 0 <= self.calibration <= 1:
            raise ConfigError(f"[loss] calibration is {self.calibration}; it has to be from 0 to 1.")
        if self.label_smoothing and self.kind != FULL:
            raise ConfigError(f"[loss] label_smoothing goes with kind = '{FULL}', not with '{self.kind}'; set it to 0.")
        if self.kind == GBCE and self.sampling != UNIFORM:
            raise ConfigError(f"[loss] kind '{GBCE}' is defined for uniform negatives; set sampling = '{UNIFORM}'.")
