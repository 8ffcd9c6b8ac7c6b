"""What the processes beside process 0 do: they compute their parts of each step, with what process 0 left in the folder.

The folder has to be one that all processes see: of several machines, on a file system that they share.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import numpy as np

from nextitem_training.config import Config, config_from
from nextitem_training.pieces_trainer import Validation
from nextitem_training.processes import Others
from nextitem_training.schema import SessionSchema
from nextitem_training.sessions import EncodedSessions
from nextitem_training.trainer import new_model, train
from nextitem_training.training_folder import Checkpoint, TrainingFolder

_OFFSETS = "offsets.npy"
_SCHEMA = "schema.json"
_FEATURES = "features.json"


def work_for_others(
    folder: TrainingFolder,
    config: Config,
    schema: SessionSchema,
    training: EncodedSessions,
    checkpoint: Checkpoint | None,
    *,
    validated: bool,
) -> dict[str, Any]:
    """Leaves in the folder what other processes need and gives the rest of it, as JSON has it."""
    place = folder.path / "sessions"
    place.mkdir(exist_ok=True)
    np.save(place / _OFFSETS, training.offsets)
    for number, values in enumerate(training.features.values()):
        np.save(place / f"{number}.npy", values)
    (place / _FEATURES).write_text(json.dumps([*training.features]), encoding="utf-8")
    (place / _SCHEMA).write_text(schema.to_json(), encoding="utf-8")
    return {
        "folder": str(folder.path),
        "config": dataclasses.asdict(config),
        "step": checkpoint.step if checkpoint else None,
        "validated": validated,
    }


def assist(others: Others) -> None:
    """Does whatever process 0 has the others do, until it has no more. Returns at once where there is one process."""
    for work in others.works():
        _train(work)


def _train(work: Mapping[str, Any]) -> None:
    folder = TrainingFolder(work["folder"])
    place = folder.path / "sessions"
    names = json.loads((place / _FEATURES).read_text(encoding="utf-8"))
    offsets = np.load(place / _OFFSETS)
    # Mapped, so that the processes of one machine share the memory.
    features = {name: np.load(place / f"{number}.npy", mmap_mode="r") for number, name in enumerate(names)}
    sessions = EncodedSessions(np.arange(len(offsets) - 1), offsets, features)
    config = config_from(work["config"])
    model = new_model(SessionSchema.from_json((place / _SCHEMA).read_text(encoding="utf-8")), config)
    train(
        model,  # gets process 0's weights when the training begins
        sessions,
        config,
        # Process 0 judges; the others need to know that it does.
        validation=Validation(sessions, np.empty(0, np.int64)) if work["validated"] else None,
        folder=folder,
        checkpoint=folder.checkpoint(work["step"]) if work["step"] is not None else None,
    )
