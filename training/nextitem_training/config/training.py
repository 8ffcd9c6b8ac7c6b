"""[training]: the training loop."""

from __future__ import annotations

from dataclasses import dataclass

from nextitem_training.config.checks import above_zero, at_least, not_negative, one_of
from nextitem_training.errors import ConfigError

AUTO = "auto"
PRECISIONS = (AUTO, "float32", "bfloat16", "float16")
CUTOFFS = (10, 20)
METRICS = tuple(f"{name}@{k}" for name in ("recall", "ndcg", "mrr") for k in CUTOFFS)


@dataclass(frozen=True)
class TrainingConfig:
    """The training loop, handed to the Hugging Face Trainer."""

    epochs: int = 10
    batch_size: int = 256
    """Pieces of sessions in a step, those of all processes together."""
    gradient_accumulation: int = 1
    """Parts in which a step's batch is computed one after another, for devices that cannot hold it at once."""
    max_gradient_norm: float = 1.0
    """Longer gradients are shortened to it; 0 for never."""
    precision: str = "float32"
    """Of the products: `float32`, `bfloat16`, `float16` (GPU), or `auto`: bfloat16 where the device has units for it."""
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    warmup_share: float = 0.1
    """Share of the steps in which the learning rate rises."""
    schedule: str = "cosine"
    """A learning rate schedule of Hugging Face Transformers, such as cosine, linear, constant."""
    seed: int = 42
    metric: str = "recall@20"
    """What of the validation sessions tells the best checkpoint."""
    patience: int = 0
    """Stop after so many epochs without a better value of it; 0 for never. Needs a validation, of [data] or from a file."""
    checkpoint_steps: int = 0
    """Write a checkpoint every so many steps, from which --resume goes on; 0: at the end of each epoch."""

    def __post_init__(self) -> None:
        at_least("training", "epochs", self.epochs, 1)
        at_least("training", "batch_size", self.batch_size, 1)
        above_zero("training", "learning_rate", self.learning_rate)
        not_negative("training", "weight_decay", self.weight_decay)
        at_least("training", "gradient_accumulation", self.gradient_accumulation, 1)
        at_least("training", "patience", self.patience, 0)
        at_least("training", "checkpoint_steps", self.checkpoint_steps, 0)
        not_negative("training", "max_gradient_norm", self.max_gradient_norm)
        one_of("training", "precision", self.precision, PRECISIONS)
        one_of("training", "metric", self.metric, METRICS)
        if not 0 <= self.warmup_share <= 1:
            raise ConfigError(f"[training] warmup_share is {self.warmup_share}; it has to be from 0 to 1.")
        if not 0 <= self.seed < 2**32:
            raise ConfigError(f"[training] seed is {self.seed}; it has to be from 0 to {2**32 - 1}.")
