"""The state of a training that is under way: a folder beside its run directory, `.demo.training` for `demo`.

It holds the newest checkpoint and the best, each there whole or not at all, and what the training was begun with.
Once the run directory is there it is removed.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import logging
import re
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nextitem_training.data.fingerprint import refuse_other
from nextitem_training.errors import RunDirectoryError

logger = logging.getLogger(__name__)

_CHECKPOINT = re.compile(r"checkpoint-(\d+)")
_STATE = "trainer_state.json"  # as Hugging Face's Trainer names it
_FINGERPRINT = "fingerprint.json"
_LOCK = "lock"


@dataclass(frozen=True)
class Checkpoint:
    """A finished checkpoint: weights, optimizer, schedule and random state after `step` steps."""

    path: Path
    step: int

    def state(self) -> dict[str, Any]:
        """What the Trainer knew then: epoch, best_metric, best_global_step, log_history and more."""
        return json.loads((self.path / _STATE).read_text(encoding="utf-8"))


class TrainingFolder:
    """A folder for the state of one training."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).absolute()
        self.unfinished = self.path / "unfinished"
        """In which a checkpoint is written before it gets its name."""
        self.storage = self.path / "vocabularies"
        """Where NVTabular keeps vocabularies until the workflow is saved."""
        self.log = self.path / "training_log.jsonl"

    @classmethod
    def beside(cls, output: str | Path) -> TrainingFolder:
        """The folder of the training that writes the run directory `output`."""
        output = Path(output).absolute()
        return cls(output.with_name(f".{output.name}.training"))

    @property
    def newest(self) -> Checkpoint | None:
        """The checkpoint with the most steps."""
        return max(self._checkpoints(), key=lambda checkpoint: checkpoint.step, default=None)

    def checkpoint(self, step: int) -> Checkpoint:
        """The checkpoint after `step` steps."""
        return Checkpoint(self.path / f"checkpoint-{step}", step)

    def refuse_existing(self, *, resume: bool, overwrite: bool) -> None:
        """Raises RunDirectoryError where an earlier training was cut off and nobody says what to do with it."""
        if resume or overwrite or not self.path.exists():
            return
        newest = self.newest
        got = f"was cut off after {newest.step} steps" if newest else "was cut off before its first checkpoint"
        raise RunDirectoryError(
            f"A training for this output {got}; its state is in {self.path}. Pass --resume to go on with it or "
            "--overwrite to begin anew."
        )

    @contextlib.contextmanager
    def opened(self, fingerprint: Mapping[str, Any], *, resume: bool) -> Iterator[Checkpoint | None]:
        """Holds the folder for one process; gives the checkpoint to go on from, None to begin.

        Where the block raises, checkpoints are kept, and the folder is removed if there is none. Raises RunDirectoryError
        where another process trains here, or where `resume` finds what was begun with something else.
        """
        self.path.mkdir(parents=True, exist_ok=True)
        with (self.path / _LOCK).open("w") as lock:
            self._lock(lock)
            checkpoint = self._begin(fingerprint, resume=resume)
            try:
                yield checkpoint
            except BaseException:
                self._leave()
                raise

    def keep(self, best_step: int | None) -> None:
        """Names the checkpoint in `unfinished` and removes all but it and the one after `best_step` steps."""
        (written,) = self.unfinished.iterdir()
        place = self.path / written.name
        written.rename(place)
        kept = {place.name, f"checkpoint-{best_step}"}
        for checkpoint in self._checkpoints():
            if checkpoint.path.name not in kept:
                shutil.rmtree(checkpoint.path)

    def clear_unfinished(self) -> None:
        """Removes what a process that was killed left in `unfinished`."""
        shutil.rmtree(self.unfinished, ignore_errors=True)
        self.unfinished.mkdir(parents=True)

    def remove(self) -> None:
        """Removes the folder with all that is in it."""
        shutil.rmtree(self.path)

    def _lock(self, file: Any) -> None:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)  # the system lets go of it however the process ends
        except OSError as error:
            raise RunDirectoryError(
                f"Another process is training for this output, in {self.path}; wait for it or choose another --output."
            ) from error

    def _begin(self, fingerprint: Mapping[str, Any], *, resume: bool) -> Checkpoint | None:
        begun = self.path / _FINGERPRINT
        checkpoint = self.newest if resume else None
        if checkpoint:
            refuse_other(json.loads(begun.read_text(encoding="utf-8")), fingerprint, self.path)
            logger.info("Going on after step %d, from %s.", checkpoint.step, checkpoint.path)
        else:
            if resume:
                logger.info("There is no checkpoint to go on from in %s; the training begins.", self.path)
            for entry in self.path.iterdir():
                if entry.is_dir():
                    shutil.rmtree(entry)
                elif entry.name != _LOCK:
                    entry.unlink()
            begun.write_text(json.dumps(fingerprint, indent=2), encoding="utf-8")
        shutil.rmtree(self.storage, ignore_errors=True)
        self.storage.mkdir()
        return checkpoint

    def _leave(self) -> None:
        newest = self.newest
        if newest:
            logger.warning("The state after %d steps is kept in %s; --resume goes on from it.", newest.step, self.path)
        else:
            self.remove()

    def _checkpoints(self) -> list[Checkpoint]:
        if not self.path.is_dir():
            return []
        names = ((path, _CHECKPOINT.fullmatch(path.name)) for path in self.path.iterdir())
        return [Checkpoint(path, int(match[1])) for path, match in names if match]
