"""The training loop: Hugging Face's Trainer over pieces of sessions."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping

import torch
from torch import nn
from torch.utils.data import DataLoader
from transformers import SchedulerType, Trainer, TrainingArguments, set_seed
from transformers.trainer_pt_utils import LengthGroupedSampler

from nextitem_training.config import Config, TrainingConfig
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.examples import SessionPieces
from nextitem_training.model import SessionModel
from nextitem_training.schema import SessionSchema
from nextitem_training.sessions import EncodedSessions

# They need a floor, a length of their own or an evaluation while training, for which there is no setting.
_WITH_MORE_SETTINGS = (
    SchedulerType.REDUCE_ON_PLATEAU,
    SchedulerType.COSINE_WITH_MIN_LR,
    SchedulerType.COSINE_WARMUP_WITH_MIN_LR,
    SchedulerType.WARMUP_STABLE_DECAY,
)
SCHEDULES = tuple(schedule.value for schedule in SchedulerType if schedule not in _WITH_MORE_SETTINGS)


def check_schedule(training: TrainingConfig) -> None:
    """Raises ConfigError on a learning rate schedule that is unknown or needs more settings than there are."""
    if training.schedule not in SCHEDULES:
        raise ConfigError(f"[training] schedule is '{training.schedule}'; known are {', '.join(SCHEDULES)}.")


def new_model(schema: SessionSchema, config: Config) -> SessionModel:
    """A model with the weights that the configuration's seed gives it."""
    set_seed(config.training.seed)
    return SessionModel.of(config, schema)


def train(model: SessionModel, sessions: EncodedSessions, config: Config) -> SessionModel:
    """Trains a model on whole sessions; returns it on the CPU and in evaluation mode.

    The device is the Trainer's choice. Raises ConfigError on an unknown schedule and DataError
    where no session is long enough.
    """
    check_schedule(config.training)
    pieces = SessionPieces(sessions, config.data)
    if not len(pieces):
        raise DataError(
            f"No session has the {config.data.min_session_length} interactions that [data] "
            "min_session_length asks for; give more data or lower it."
        )
    with tempfile.TemporaryDirectory() as unused:  # the Trainer insists on a folder
        arguments = _arguments(config.training, unused)
        trainer = _PiecesTrainer(
            model=_Loss(model),
            args=arguments,
            train_dataset=pieces,
            data_collator=pieces.collate,
        )
        trainer.train()
    return model.cpu().eval()


class _Loss(nn.Module):
    """Gives the loss from `forward`, where the Trainer and its data parallelism look for it."""

    def __init__(self, model: SessionModel) -> None:
        super().__init__()
        self.model = model

    def forward(self, features: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {"loss": self.model.loss(features)}


class _PiecesTrainer(Trainer):
    """Batches pieces of like lengths: most sessions are short, and padding costs time."""

    def get_train_dataloader(self) -> DataLoader:
        pieces = self.train_dataset
        generator = torch.Generator().manual_seed(self.args.seed)
        lengths = pieces.lengths.tolist()
        loader = DataLoader(
            pieces,
            batch_size=self._train_batch_size,
            sampler=LengthGroupedSampler(self._train_batch_size, lengths=lengths, generator=generator),
            collate_fn=pieces.collate,
        )
        return self.accelerator.prepare(loader)


def _arguments(training: TrainingConfig, folder: str) -> TrainingArguments:
    return TrainingArguments(
        output_dir=folder,
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup_ratio=training.warmup_share,
        lr_scheduler_type=training.schedule,
        seed=training.seed,
        save_strategy="no",
        logging_strategy="epoch",
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
