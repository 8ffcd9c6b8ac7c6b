"""The processes of one training, as torchrun starts them: process 0 prepares, judges and writes, all compute."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator, Mapping
from typing import Any

import torch
import torch.distributed as dist

PATIENCE_S = 7 * 24 * 3600
"""How long processes wait for process 0, which may prepare the data or judge the model for hours."""


def count() -> int:
    """How many processes train together, as torchrun says."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """This process's number, from 0."""
    return int(os.environ.get("RANK", "0"))


class Others:
    """What process 0 has the other processes do: one piece of work after another, until none comes."""

    def __init__(self) -> None:
        self._busy = False

    @contextlib.contextmanager
    def at(self, work: Mapping[str, Any]) -> Iterator[None]:
        """In process 0: has the others begin, for as long as the block runs."""
        shared(work)
        self._busy = True
        yield
        wait()
        self._busy = False

    def works(self) -> Iterator[Mapping[str, Any]]:
        """In the others: what process 0 has them do."""
        while (work := shared(None)) is not None:
            yield work
            wait()

    def dismiss(self) -> None:
        """In process 0: lets the others end, but for those in the midst of a work, whom torchrun ends."""
        if not self._busy:
            shared(None)


@contextlib.contextmanager
def together() -> Iterator[Others]:
    """Joins the processes, where there are several, before Hugging Face's Trainer would with a shorter patience."""
    others = Others()
    if count() == 1:
        yield others
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # gloo carries what `shared` sends, nccl the gradients.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=datetime.timedelta(seconds=PATIENCE_S))
    try:
        yield others
    finally:
        if rank() == 0:
            others.dismiss()
    dist.destroy_process_group()  # not after a failure, where it would wait for those at work


def shared(value: Any) -> Any:
    """Process 0's value, in all processes; others give None."""
    if count() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, device=torch.device("cpu"))
    return box[0]


def wait() -> None:
    """Returns when all processes have come here."""
    if count() > 1:
        dist.all_reduce(torch.zeros(1))
