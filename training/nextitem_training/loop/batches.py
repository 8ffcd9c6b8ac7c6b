"""Which segments of sessions make a step, and which of them a process computes at once.

The order is a function of seed and epoch alone, so that a training that goes on after a cut reads what it would have read, and
so that the micro-batches of a step, however many there are, hold the same segments together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from nextitem_training.loop.examples import SessionSegments


@dataclass(frozen=True)
class MicroBatches:
    """How a step's batch is divided: among processes, and in each into micro-batches that follow one another."""

    accumulated: int = 1
    processes: int = 1
    process: int = 0

    @property
    def count(self) -> int:
        """Micro-batches of a step in all."""
        return self.accumulated * self.processes


class MicroBatchSampler(Sampler[list[int]]):
    """For each step this process's micro-batches: indices of segments, of like lengths as most sessions are short.

    The last step of an epoch may have fewer segments than there are micro-batches; then micro-batches are empty.
    """

    def __init__(
        self, lengths: Sequence[int] | np.ndarray, batch_size: int, micro_batches: MicroBatches, seed: int
    ) -> None:
        self.lengths = [int(length) for length in lengths]
        self.batch_size = batch_size
        self.micro_batches = micro_batches
        self.seed = seed
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0, whose order is given next."""
        self.epoch = epoch

    def __len__(self) -> int:
        return -(-len(self.lengths) // self.batch_size) * self.micro_batches.accumulated

    def __iter__(self) -> Iterator[list[int]]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        order = get_length_grouped_indices(self.lengths, self.batch_size, generator=generator)
        first = self.micro_batches.process * self.micro_batches.accumulated
        for start in range(0, len(order), self.batch_size):
            micro_batches = np.array_split(np.asarray(order[start : start + self.batch_size]), self.micro_batches.count)
            for micro_batch in micro_batches[first : first + self.micro_batches.accumulated]:
                yield micro_batch.tolist()


class StepLoader(DataLoader):
    """Gives the micro-batches of all steps as padded batches; the Trainer tells it the epoch."""

    def __init__(self, segments: SessionSegments, batch_size: int, micro_batches: MicroBatches, seed: int) -> None:
        def collate(chosen: Sequence[int]) -> dict[str, Any]:
            return segments.collate(chosen) if chosen else _blank(segments.collate([0]))

        super().__init__(
            segments,
            batch_sampler=MicroBatchSampler(segments.lengths, batch_size, micro_batches, seed),
            collate_fn=collate,
        )

    def set_epoch(self, epoch: int) -> None:
        """Chooses the epoch, from 0."""
        assert isinstance(self.batch_sampler, MicroBatchSampler)
        self.batch_sampler.set_epoch(epoch)


def _blank(batch: Any) -> Any:
    """The same batch with nothing but padding, which has no target."""
    if isinstance(batch, torch.Tensor):
        return torch.zeros_like(batch)
    return {name: _blank(value) for name, value in batch.items()}
