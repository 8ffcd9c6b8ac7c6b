"""The training loop: Hugging Face's Trainer over segments of sessions."""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import torch
from safetensors.torch import load_file
from transformers import SchedulerType, TrainingArguments, set_seed
from transformers.trainer_callback import ProgressCallback

from nextitem_training.config import Config, TrainingConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.evaluation.log import TrainingLog
from nextitem_training.loop import processes
from nextitem_training.loop.batches import MicroBatches
from nextitem_training.loop.callbacks import EpochRhythm, Progress
from nextitem_training.loop.examples import SessionSegments
from nextitem_training.loop.interrupts import StopOnRequest
from nextitem_training.loop.micro_batch_trainer import MicroBatchLoss, MicroBatchTrainer, Validation
from nextitem_training.loop.precision import check_precision, chosen_precision
from nextitem_training.loop.training_folder import Checkpoint, TrainingFolder
from nextitem_training.model import SessionModel
from nextitem_training.schema import SessionSchema

# They need a floor or a length of their own, for which there is no setting.
_WITH_MORE_SETTINGS = (
    SchedulerType.REDUCE_ON_PLATEAU,
    SchedulerType.COSINE_WITH_MIN_LR,
    SchedulerType.COSINE_WARMUP_WITH_MIN_LR,
    SchedulerType.WARMUP_STABLE_DECAY,
)
ONE_CYCLE = "one-cycle"
"""PyTorch's OneCycleLR (Smith and Topin, 2019): up in `warmup_share` of the steps, then down to next to nothing."""
SCHEDULES = (
    *(schedule.value for schedule in SchedulerType if schedule not in _WITH_MORE_SETTINGS),
    ONE_CYCLE,
)

_LOGS_PER_EPOCH = 10  # and one at its end


def check_training(training: TrainingConfig) -> None:
    """Raises ConfigError where the loop cannot be run here as it is asked for.

    That is: an unknown learning rate schedule or one that needs more settings than there are; a batch that cannot be divided
    among processes and micro-batches; a precision that the device does not have.
    """
    if training.schedule not in SCHEDULES:
        raise ConfigError(f"[training] schedule is '{training.schedule}'; known are {', '.join(SCHEDULES)}.")
    micro_batches = _micro_batches(training)
    if training.batch_size % micro_batches.count:
        raise ConfigError(
            f"[training] batch_size is {training.batch_size}; it has to be a multiple of gradient_accumulation times the "
            f"number of processes, {micro_batches.accumulated} times {micro_batches.processes}."
        )
    check_precision(training)


def new_model(schema: SessionSchema, config: Config) -> SessionModel:
    """A model with the weights that the configuration's seed gives it."""
    set_seed(config.training.seed)
    return SessionModel.of(config, schema)


def train(
    model: SessionModel,
    sessions: EncodedSessions,
    config: Config,
    *,
    validation: Validation | None = None,
    folder: TrainingFolder | None = None,
    checkpoint: Checkpoint | None = None,
) -> SessionModel:
    """Trains a model on whole sessions; returns it on the CPU and in evaluation mode.

    The device is the Trainer's choice.

    Args:
        validation: what judges the weights after each epoch; the best are returned, without it the last.
        folder: keeps checkpoints and the log; without it they are kept nowhere.
        checkpoint: one of `folder` from which to go on; the end is the same as without a cut.

    Raises ConfigError as `check_training` does, DataError where no session is long enough, DivergenceError at the first loss,
    gradient or weight that is not finite, and KeyboardInterrupt where the process is asked to stop: after the step it is at
    and a checkpoint.
    """
    check_training(config.training)
    segments = SessionSegments(sessions, config.data)
    if not len(segments):
        raise DataError(
            f"No session has the {config.data.min_session_length} interactions that [data] "
            "min_session_length asks for; give more data or lower it."
        )
    with tempfile.TemporaryDirectory() as unnamed:
        folder = folder or TrainingFolder(unnamed)
        _run(model, segments, config.training, validation, folder, checkpoint)
        best = best_step(folder) if validation else None
        if best is not None:
            weights = load_file(folder.checkpoint(best).path / "model.safetensors")
            MicroBatchLoss(model).load_state_dict(weights)
        processes.wait()  # others may still read the best weights
    return model.cpu().eval()


def best_step(folder: TrainingFolder) -> int | None:
    """After which step the weights were the best, by validation."""
    newest = folder.newest
    return newest.state()["best_global_step"] if newest else None


def _run(
    model: SessionModel,
    segments: SessionSegments,
    training: TrainingConfig,
    validation: Validation | None,
    folder: TrainingFolder,
    checkpoint: Checkpoint | None,
) -> None:
    micro_batches = _micro_batches(training)
    steps = -(-len(segments) // training.batch_size)
    rhythm = EpochRhythm(steps, training.checkpoint_steps, training.patience)
    if checkpoint and rhythm.patience_is_spent(checkpoint.step, checkpoint.state()["best_global_step"]):
        return  # it was cut off after its last step
    with StopOnRequest(steps) as stop:
        trainer = MicroBatchTrainer(
            MicroBatchLoss(model),
            segments,
            _arguments(training, folder.path, micro_batches, steps, validated=validation is not None),
            micro_batches=micro_batches,
            batch_size=training.batch_size,
            one_cycle=training.warmup_share if training.schedule == ONE_CYCLE else None,
            validation=validation,
            folder=folder,
        )
        trainer.remove_callback(ProgressCallback)
        for callback in (rhythm, TrainingLog(folder.log), Progress(training.metric), stop):
            trainer.add_callback(callback)
        # Processes draw their masks and dropout each for itself.
        torch.manual_seed(training.seed + micro_batches.process)
        trainer.train(resume_from_checkpoint=str(checkpoint.path) if checkpoint else None)


def _micro_batches(training: TrainingConfig) -> MicroBatches:
    return MicroBatches(training.gradient_accumulation, processes.count(), processes.rank())


class OneDevice(TrainingArguments):
    """Several GPUs are torchrun's: the Trainer's DataParallel would weigh their micro-batches alike."""

    @property
    def n_gpu(self) -> int:
        """The GPUs of this process, at most one."""
        return min(super().n_gpu, 1)


def _arguments(
    training: TrainingConfig, folder: Path, micro_batches: MicroBatches, steps: int, *, validated: bool
) -> TrainingArguments:
    precision = chosen_precision(training)
    return OneDevice(
        output_dir=str(folder),
        num_train_epochs=training.epochs,
        per_device_train_batch_size=training.batch_size // micro_batches.count,
        gradient_accumulation_steps=micro_batches.accumulated,
        # Never is a limit that is never reached: the length is asked for in any case, to see that it is finite.
        max_grad_norm=training.max_gradient_norm or math.inf,
        bf16=precision == "bfloat16",
        fp16=precision == "float16",
        use_cpu=not torch.cuda.is_available(),
        ddp_timeout=processes.PATIENCE_S,
        learning_rate=training.learning_rate,
        weight_decay=training.weight_decay,
        warmup_ratio=training.warmup_share,
        lr_scheduler_type="constant" if training.schedule == ONE_CYCLE else training.schedule,
        seed=training.seed,
        save_strategy="epoch",
        eval_strategy="epoch" if validated else "no",
        metric_for_best_model=training.metric if validated else None,
        greater_is_better=True,
        logging_strategy="steps",
        logging_steps=max(1, steps // _LOGS_PER_EPOCH),
        logging_nan_inf_filter=False,  # which would log 0 in place of NaN
        report_to="none",
        remove_unused_columns=False,
        dataloader_pin_memory=torch.cuda.is_available(),
    )
