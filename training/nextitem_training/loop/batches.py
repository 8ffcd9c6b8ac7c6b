"""Which pieces of sessions make a step, and which of them a process computes at once.

The order is a function of seed and epoch alone, so that a training that goes on after a cut reads what it would have read, and
so that the parts of a step, however many there are, hold the same pieces together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from nextitem_training.loop.examples import SessionPieces


@dataclass(frozen=True)
class Parts:
    """How a step's batch is divided: among processes, and in each into parts that follow one another."""

    accumulated: int = 1
    processes: int = 1
    process: int = 0

    @property
    def count(self) -> int:
        """Parts of a step in all."""
        return self.accumulated * self.processes


class StepParts(Sampler[list[int]]):
    """For each step this process's parts: indices of pieces, of like lengths as most sessions are short.

    The last step of an epoch may have fewer pieces than there are parts; then parts are empty.
    """

    def __init__(self, lengths: Sequence[int] | np.ndarray, batch_size: int, parts: Parts, seed: int) -> None:
        self.lengths = [int(length) for length in lengths]
        self.batch_size = batch_size
        self.parts = parts
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose order is given next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size) * self.parts.accumulated

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        first = self.parts.process * self.parts.accumulated
        for start in range(0, len(order), self.batch_size):
            parts = np.array_split(np.asarray(order[start : start + self.batch_size]), self.parts.count)
            for part in parts[first : first + self.parts.accumulated]:
                yield part.tolist()


class StepLoader(DataLoader):
    """Gives the parts of all steps as padded batches; the Trainer tells it the epoch."""

    def __init__(self, pieces: SessionPieces, batch_size: int, parts: Parts, seed: int) -> None:
        def collate(chosen: Sequence[int]) -> dict[str, Any]:
            return pieces.collate(chosen) if chosen else _blank(pieces.collate([0]))

        super().__init__(pieces, batch_sampler=StepParts(pieces.lengths, batch_size, parts, seed), collate_fn=collate)

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0."""
        self.batch_sampler.set_epoch(epoch)


def _blank(batch: Any) -> Any:
    """The same batch with nothing but padding, which has no target."""
    if isinstance(batch, torch.Tensor):
        return torch.zeros_like(batch)
    return {name: _blank(value) for name, value in batch.items()}
