"""training_log.jsonl: one line of JSON per logged training step and per validation."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

_VALIDATION = "eval_"
_NAMES = {"loss": "loss", "grad_norm": "gradient_norm", "learning_rate": "learning_rate"}


class TrainingLog(TrainerCallback):
    """Writes the log, in process 0. A resumed run begins with the log up to the checkpoint."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Writes what was logged up to the checkpoint, if there is one."""
        if state.is_world_process_zero:
            beside = self.path.with_suffix(".new")
            beside.write_text("".join(map(_line, state.log_history)), encoding="utf-8")
            os.replace(beside, self.path)

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Adds a line."""
        if state.is_world_process_zero:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_line(state.log_history[-1]))


def read_log(path: Path) -> list[dict[str, Any]]:
    """Reads a log: a dict per line, {step, epoch, seconds} with {loss, gradient_norm, learning_rate} or {validation: {…}}."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _line(entry: Mapping[str, Any]) -> str:
    """An entry of the Trainer's history as a line; empty for its summary at the end."""
    validation = {
        name.removeprefix(_VALIDATION): value for name, value in entry.items() if name.startswith(_VALIDATION)
    }
    losses = {ours: entry[theirs] for theirs, ours in _NAMES.items() if theirs in entry}
    if not validation and not losses:
        return ""
    line = {"step": entry["step"], "epoch": round(entry["epoch"], 4), "seconds": entry["seconds"], **losses}
    if validation:
        line["validation"] = validation
    return json.dumps(line) + "\n"
