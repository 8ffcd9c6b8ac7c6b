"""What the processes beside process 0 do: they compute their micro-batches of each step of whatever it trains.

Process 0 alone reads, fits and encodes, so that the data is in memory once and is prepared once; the others get the encoded
sessions from it. Checkpoints lie in a folder that all have to see: of several machines, on a file system that they share.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nextitem_training.config import Config
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.loop import processes
from nextitem_training.loop.micro_batch_trainer import Validation
from nextitem_training.loop.trainer import new_model, train
from nextitem_training.loop.training_folder import Checkpoint, TrainingFolder
from nextitem_training.model import SessionModel
from nextitem_training.schema import SessionSchema


@dataclass(frozen=True)
class SharedTraining:
    """One training, as process 0 hands it to the others; fields as of `trainer.train`."""

    config: Config
    schema: SessionSchema
    sessions: EncodedSessions
    folder: TrainingFolder
    checkpoint: Checkpoint | None
    validated: bool

    def run(self, model: SessionModel, validation: Validation | None) -> SessionModel:
        """Trains as `trainer.train` does, all processes together; the first weights are those of process 0."""
        return train(
            model,
            self.sessions,
            self.config,
            validation=validation,
            folder=self.folder,
            checkpoint=self.checkpoint,
        )


def train_with_workers(training: SharedTraining, model: SessionModel, validation: Validation | None) -> SessionModel:
    """In process 0: trains, with the others where there are any."""
    return processes.shared(training).run(model, validation)


def work() -> None:
    """In the others: trains with process 0, until it shares None."""
    while (training := processes.shared(None)) is not None:
        # Process 0 judges; the others need to know that it does.
        judged = Validation(training.sessions, np.empty(0, np.int64)) if training.validated else None
        training.run(new_model(training.schema, training.config), judged)
