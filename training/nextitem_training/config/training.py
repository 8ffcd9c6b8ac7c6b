"""[training]: the training loop."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Section

AUTO: Final = "auto"
CUTOFFS = (10, 20)
Metric = Literal["recall@10", "recall@20", "ndcg@10", "ndcg@20", "mrr@10", "mrr@20"]


@dataclass(frozen=True)
class TrainingConfig(Section):
    """The training loop, handed to the Hugging Face Trainer."""

    table: ClassVar[str] = "[training]"

    epochs: PositiveInt = 10
    batch_size: PositiveInt = 256
    """Segments of sessions in a step, those of all processes together."""
    gradient_accumulation: PositiveInt = 1
    """Micro-batches in which a step's batch is computed one after another, for devices that cannot hold it at once."""
    max_gradient_norm: NonNegativeFloat = 1.0
    """Longer gradients are shortened to it; 0 for never."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Of the products: `float32`, `bfloat16`, `float16` (GPU), or `auto`: bfloat16 where the device has units for it."""
    learning_rate: PositiveFloat = 1e-3
    weight_decay: NonNegativeFloat = 0.01
    warmup_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the steps in which the learning rate rises."""
    schedule: str = "cosine"
    """A learning rate schedule of Hugging Face Transformers, such as cosine, linear, constant."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    metric: Metric = "recall@20"
    """What of the validation sessions tells the best checkpoint."""
    patience: NonNegativeInt = 0
    """Stop after so many epochs without a better value of it; 0 for never. Needs a validation, of [data] or from a file."""
    checkpoint_steps: NonNegativeInt = 0
    """Write a checkpoint every so many steps, from which --resume goes on; 0: at the end of each epoch."""
