"""The processes of one training, as torchrun starts them: process 0 prepares, judges and writes, all compute."""

from __future__ import annotations

import contextlib
import datetime
import os
from collections.abc import Iterator
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


@contextlib.contextmanager
def group() -> Iterator[None]:
    """Joins the processes, where there are several, before Hugging Face's Trainer would with a shorter patience."""
    if count() == 1:
        yield
        return
    if torch.cuda.is_available():
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    # gloo carries what `shared` sends, nccl the gradients.
    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    dist.init_process_group(backend, timeout=datetime.timedelta(seconds=PATIENCE_S))
    yield
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
