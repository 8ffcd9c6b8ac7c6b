"""Ctrl-C and a scheduler's SIGTERM: the step that is under way ends, a checkpoint is written, the training stops."""

from __future__ import annotations

import logging
import signal
import threading
import types
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from nextitem_training.loop import processes

logger = logging.getLogger(__name__)

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnRequest(TrainerCallback):
    """A context in which the first signal asks for the end and the second ends at once, both with KeyboardInterrupt.

    Of several processes each would stop after another step, so that they stop at once, at the last checkpoint.
    """

    def __init__(self, steps: int) -> None:
        """`steps` in an epoch."""
        self.steps = steps
        self.asked = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> StopOnRequest:
        if threading.current_thread() is threading.main_thread() and processes.count() == 1:
            self._before = {number: signal.signal(number, self._ask) for number in _SIGNALS}
        return self

    def __exit__(self, kind: type[BaseException] | None, *details: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
        if self.asked and kind is None:  # during the last step
            raise KeyboardInterrupt

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Asks for a checkpoint; after an epoch's last step come validation and a checkpoint by themselves."""
        if self.asked and state.global_step % self.steps:
            control.should_save = True

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Stops where that was asked for."""
        if self.asked:
            raise KeyboardInterrupt

    def _ask(self, number: int, frame: types.FrameType | None) -> None:
        if self.asked:
            raise KeyboardInterrupt
        self.asked = True
        logger.warning("Stopping after this step and its checkpoint; once more stops at once.")
