"""Hugging Face's Trainer for segments of sessions: weighted micro-batches, whole checkpoints, validation."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, OneCycleLR
from torch.utils.data import DataLoader
from transformers import Trainer, TrainingArguments

from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import DivergenceError
from nextitem_training.evaluation import last_of_each, metrics_of, model_ranks
from nextitem_training.evaluation.finite import not_finite
from nextitem_training.loop import processes
from nextitem_training.loop.batches import MicroBatches, StepLoader
from nextitem_training.loop.examples import SessionSegments
from nextitem_training.loop.training_folder import TrainingFolder
from nextitem_training.model import SessionModel


@dataclass(frozen=True)
class Validation:
    """What judges a model while it is trained."""

    sessions: EncodedSessions
    """Sessions that the training does not see."""
    counts: np.ndarray
    """int64 [V - 3]: the items' popularity."""
    exclude_seen: bool = False
    """As in [data]."""

    def metrics(self, model: SessionModel) -> dict[str, float]:
        """As `evaluation.metrics_of` gives them; the model is left in evaluation mode."""
        questions = last_of_each(self.sessions, model.item_feature, exclude_seen=self.exclude_seen)
        features = self.sessions.features
        return metrics_of(model_ranks(model.eval(), features, self.counts, questions, progress="validation"))


class MicroBatchLoss(nn.Module):
    """Gives the loss from `forward`, where the Trainer and its data parallelism look for it."""

    def __init__(self, model: SessionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Mapping[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        """As `SessionModel.loss`."""
        return self.model.loss(features)


def seeks_scale(scaler: torch.amp.GradScaler | None) -> bool:
    """Whether a step that float16 left out is one of those by which loss scaling finds its scale, halving it each time.

    A gradient that is not finite without any scaling has another cause. The scale is asked for after it was halved.
    """
    return scaler is not None and scaler.get_scale() >= 1


class MicroBatchTrainer(Trainer):
    """A Trainer whose loss is the mean over a whole step's targets, however the step is divided.

    What it overrides with a leading underscore is private in Transformers; pyproject.toml pins the series.
    """

    # Of what the Trainer may hold, what this one does.
    model: MicroBatchLoss
    train_dataset: SessionSegments
    eval_dataset: Validation | None
    optimizer: Optimizer

    def __init__(
        self,
        model: MicroBatchLoss,
        segments: SessionSegments,
        arguments: TrainingArguments,
        *,
        micro_batches: MicroBatches,
        batch_size: int,
        one_cycle: float | None,
        validation: Validation | None,
        folder: TrainingFolder,
    ) -> None:
        """`one_cycle`: the share of steps in which the learning rate rises, for that schedule."""
        self.micro_batches = micro_batches
        self.batch_size = batch_size
        self.one_cycle = one_cycle
        self.folder = folder
        self._part_sums: list[torch.Tensor] = []
        self._began = time.monotonic()
        self._seconds_before: float | None = None
        super().__init__(
            model=model,
            args=arguments,
            train_dataset=segments,
            eval_dataset=validation,
            data_collator=segments.collate,
        )

    def get_train_dataloader(self) -> DataLoader:
        """Batches of this process, in the order of seed and epoch."""
        return StepLoader(self.train_dataset, self.batch_size, self.micro_batches, self.args.seed)

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> LRScheduler:
        """Adds the one schedule that Transformers lacks."""
        if self.one_cycle is None or self.lr_scheduler is not None:
            return cast("LRScheduler", super().create_scheduler(num_training_steps, optimizer))
        self.lr_scheduler = OneCycleLR(
            optimizer or self.optimizer,
            max_lr=self.args.learning_rate,
            total_steps=num_training_steps,
            pct_start=self.one_cycle,
        )
        self._created_lr_scheduler = True
        return self.lr_scheduler

    def compute_loss(self, model: nn.Module, inputs: Any, return_outputs: bool = False, **options: Any) -> Any:
        """The mean over targets, or, where a step has micro-batches, their sum by the step's number of segments."""
        total, targets = model(**inputs)
        if self.micro_batches.count == 1:
            return total / targets.clamp(min=1)
        self._part_sums.append(torch.stack([total.detach().double(), targets.double()]))
        return total / self.batch_size

    def training_step(self, model: nn.Module, inputs: Any, num_items_in_batch: Any = None) -> torch.Tensor:
        """One micro-batch: forward and backward. With the last one the gradients become those of the mean over all targets.

        The Trainer has divided by the number of micro-batches of a process, and data parallelism by that of the processes.
        Raises DivergenceError where the step's loss is not finite, in all processes.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        if self.micro_batches.count == 1:
            self._refuse_not_finite("the loss", float(loss), self.state.global_step + 1)
            return loss
        if not self.accelerator.sync_gradients:
            return torch.zeros_like(loss)
        total, targets = self.accelerator.reduce(torch.stack(self._part_sums).sum(0), "sum")
        self._part_sums.clear()
        self._refuse_not_finite("the loss", float(total), self.state.global_step + 1)
        targets = targets.clamp(min=1)
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        factor = (self.batch_size * self.micro_batches.count / targets).item()
        torch._foreach_mul_(gradients, factor)  # pyright: ignore[reportPrivateImportUsage]
        return (total / targets).to(loss.dtype)

    def _maybe_log_save_evaluate(self, tr_loss: torch.Tensor, grad_norm: Any, *arguments: Any, **options: Any) -> None:
        """Comes after each step: raises DivergenceError, in all processes, where its gradient was not finite."""
        if not (self.accelerator.optimizer_step_was_skipped and seeks_scale(self.accelerator.scaler)):
            self._refuse_not_finite("the length of the gradient", float(grad_norm), self.state.global_step)
        super()._maybe_log_save_evaluate(tr_loss, grad_norm, *arguments, **options)

    def _refuse_not_finite(self, what: str, value: float, step: int) -> None:
        if not math.isfinite(value):
            self._stop(f"{what} is {value:g}", step)

    def _stop(self, reason: str, step: int) -> None:
        norm = self.args.max_grad_norm
        shorter = (
            f"lower max_gradient_norm, which is {norm:g}"
            if math.isfinite(norm)
            else "set max_gradient_norm, which is 0"
        )
        raise DivergenceError(
            f"The training stopped at step {step} of {self.state.max_steps}, since {reason} there. Lower [training] "
            f"learning_rate, which is {self.args.learning_rate:g}, or {shorter}; or look for extreme values in [data] "
            "continuous and list their columns in log_continuous"
            + ("; or set precision = 'bfloat16' or 'float32', as float16 ends at 65,504." if self.args.fp16 else ".")
        )

    def evaluate(self, *arguments: Any, **options: Any) -> dict[str, float]:
        """Judges the weights as they are, in process 0; all processes get the metrics."""
        assert self.eval_dataset is not None, "it is called where there is something to validate by"
        found = self.eval_dataset.metrics(self.model.model) if self.is_world_process_zero() else None
        metrics = {f"eval_{name}": value for name, value in processes.shared(found).items()}
        self.log(dict(metrics))
        self.control = self.callback_handler.on_evaluate(self.args, self.state, self.control, metrics)
        return metrics

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Adds the seconds that were trained, those before a cut too."""
        if self._seconds_before is None:
            self._seconds_before = self.state.log_history[-1]["seconds"] if self.state.log_history else 0.0
        seconds = self._seconds_before + time.monotonic() - self._began
        super().log({**logs, "seconds": round(seconds, 2)}, start_time)

    def _get_output_dir(self, trial: Any) -> str:
        return str(self.folder.unfinished)

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        """Writes a checkpoint beside its place and puts it there when it is whole.

        Raises DivergenceError, in all processes, where the weights are not finite, which the last step's loss and gradient
        cannot tell.
        """
        wrong = not_finite(self.model.model.state_dict())
        if wrong:
            self._stop(f"the weights {wrong} are NaN or infinite", self.state.global_step)
        if self.is_world_process_zero():
            self.folder.clear_unfinished()
        processes.wait()
        super()._save_checkpoint(model, trial)
        processes.wait()
        if self.is_world_process_zero():
            self.folder.keep(self.state.best_global_step)
        processes.wait()

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        """The weights alone: the Trainer would add its arguments as a pickle."""
        folder = Path(cast("str", output_dir or self.args.output_dir))  # the arguments always name one
        folder.mkdir(parents=True, exist_ok=True)
        weights = state_dict or self.model.state_dict()
        save_file({name: weight.contiguous() for name, weight in weights.items()}, folder / "model.safetensors")
