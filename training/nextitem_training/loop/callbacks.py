"""What happens when in the training loop: logs, checkpoints, the end for want of progress, and what the terminal shows."""

from __future__ import annotations

import sys
from typing import Any

from tqdm import tqdm
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import ProgressCallback

from nextitem_bundle.commands import hides_progress


class EpochRhythm(TrainerCallback):
    """A log at the end of each epoch, checkpoints between where asked for, the end where patience is spent.

    Patience is counted from the Trainer's own state and has none to be kept in a checkpoint.
    """

    def __init__(self, steps: int, checkpoint_steps: int, patience: int) -> None:
        """`steps` in an epoch; the others as in TrainingConfig, 0 for never."""
        self.steps = steps
        self.checkpoint_steps = checkpoint_steps
        self.patience = patience

    def patience_is_spent(self, step: int, best_step: int | None) -> bool:
        """Whether `patience` epochs have passed since the best one."""
        return bool(self.patience) and best_step is not None and step - best_step >= self.patience * self.steps

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Asks for a checkpoint; an epoch's last step gets one after the validation."""
        if self.checkpoint_steps and state.global_step % self.checkpoint_steps == 0 and state.global_step % self.steps:
            control.should_save = True

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Asks for a log."""
        control.should_log = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Ends the training; after the validation, as only then the state knows the best step."""
        if self.patience_is_spent(state.global_step, state.best_global_step):
            control.should_training_stop = True


class Progress(ProgressCallback):
    """The bar with rate, time left and the newest loss on a terminal, and a line for each validation."""

    def __init__(self, metric: str) -> None:
        super().__init__()
        self.metric = metric

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Draws the bar, in the first process and where standard error is a terminal."""
        if state.is_world_process_zero:
            hidden = True if hides_progress("nextitem_training") else None
            self.training_bar = tqdm(
                total=state.max_steps, desc="training", unit="step", dynamic_ncols=True, disable=hidden
            )
        self.current_step = 0

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **kwargs: Any,
    ) -> None:
        """Shows what is new."""
        if self.training_bar is None or not logs:
            return
        if "loss" in logs:
            self.training_bar.set_postfix_str(f"epoch {logs['epoch']:.1f}, loss {logs['loss']:.4f}")
        value = logs.get(f"eval_{self.metric}")
        if value is not None and not hides_progress("nextitem_training"):
            best = state.best_metric is None or value > state.best_metric
            self.training_bar.write(
                f"Epoch {logs['epoch']:.0f}: {self.metric} {value:.4f} on the validation sessions"
                + (", the best so far." if best else f"; the best is {state.best_metric:.4f}."),
                file=sys.stderr,
            )
