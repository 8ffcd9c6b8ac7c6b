"""[training]: the training loop."""

from __future__ import annotations

from typing import Annotated, ClassVar, Final, Literal

from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt
from pydantic.dataclasses import dataclass

from nextitem_training.config.section import Section

AUTO: Final = "auto"
CUTOFFS = (10, 20)
"""The k of the metrics."""
Metric = Literal["recall@10", "recall@20", "ndcg@10", "ndcg@20", "mrr@10", "mrr@20"]
"""What the evaluation measures, see `nextitem_training.evaluation.metrics_of`."""


@dataclass(frozen=True)
class TrainingConfig(Section):
    """The training loop, which is the Hugging Face Trainer with AdamW. See docs/training.md."""

    table: ClassVar[str] = "[training]"

    epochs: PositiveInt = 10
    """Number of passes over the training sessions. `nextitem-train --epochs` overrides it."""
    batch_size: PositiveInt = 256
    """Training examples in one training step, over all processes. An example is a run of at most `window` + 1 interactions of
    one session. It has to be a multiple of `gradient_accumulation` times the number of processes."""
    gradient_accumulation: PositiveInt = 1
    """Number of micro-batches per training step. They are computed one after another, for devices that cannot hold the whole
    batch."""
    max_gradient_norm: NonNegativeFloat = 1.0
    """Gradients with a larger norm are scaled down to it. 0 switches clipping off."""
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "float32"
    """Number type of matrix products, by autocast; weights stay float32. `float16` needs a GPU. `auto` is bfloat16 where the
    device has units for it, otherwise float32."""
    learning_rate: PositiveFloat = 1e-3
    """The highest learning rate of the schedule."""
    weight_decay: NonNegativeFloat = 0.01
    """Weight decay of AdamW."""
    warmup_share: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the training steps in which the learning rate rises, for schedules with a warm-up."""
    schedule: str = "cosine"
    """Learning rate schedule: `one-cycle` is PyTorch's OneCycleLR, the others are those of Hugging Face Transformers."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 42
    """Seed of initial weights, of the order of examples, of all draws in training, and of the sample of sessions."""
    metric: Metric = "recall@20"
    """The metric on the validation sessions that chooses the best checkpoint, and by which the model is compared with the
    baselines at the end."""
    patience: NonNegativeInt = 0
    """Stop after this many epochs without a better `metric`. 0 switches early stopping off. Needs validation sessions, from
    `[data]` or from `--validation-data`."""
    checkpoint_steps: NonNegativeInt = 0
    """Also write a checkpoint every N training steps; `--resume` continues from the newest. 0: only at the end of each
    epoch."""
