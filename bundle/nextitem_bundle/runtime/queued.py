"""A step that answers the requests that wait together, and refuses those that it could not answer in time."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any, Protocol

import numpy as np

from .request import Array
from .step import Step
from .steps import Queue
from .triton.batching import Outcome, answer_or_halve, without_frames
from .triton.load_shedding import LoadShedding
from .triton.shape_guard import refuse_impossible

#: The tensors of an answer that have a column for each item.
_BY_ITEM = ("item_ids", "scores")
#: More than any answer has.
_ALL = 2**31


@dataclasses.dataclass(frozen=True)
class Checked:
    """A request that has been looked at. Those with an equal `kind` can be answered in one run. what: the core's own."""

    rows: int
    top_k: int
    kind: tuple[Any, ...]
    what: Any


class Core(Protocol):
    """What looks at requests, and answers several of one kind."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """Raises RequestError."""
        ...

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """The answers one below the other, with as many items as the one that wants most. Raises if any cannot be answered."""
        ...


class Rows:
    """The core of a step that is batched: requests whose shapes differ in the first axis alone are of one kind."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.inputs, self.outputs = step.inputs, step.outputs

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """See Core."""
        kind = tuple((name, values.shape[1:]) for name, values in tensors.items())
        return Checked(len(next(iter(tensors.values()))), _ALL, kind, tensors)

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """See Core."""
        if len(requests) == 1:
            return self._step.run(requests[0].what)
        return self._step.run({name: np.concatenate([one.what[name] for one in requests]) for name in requests[0].what})


def queued(step: Step, queue: Queue | None) -> Step:
    """The step with a queue before it, where it has one."""
    return step if queue is None else QueuedStep(Rows(step), queue)


class QueuedStep:
    """Joins requests to batches of so many sessions as `queue` prefers, unless one request alone has more.

    load_shedding: how many of those that have come are answered.
    """

    def __init__(self, core: Core, queue: Queue) -> None:
        self._core = core
        self._max_rows = queue.preferred_batch_size
        self.load_shedding = LoadShedding(queue.max_queue_size, queue.max_queue_ms, queue.warm_ups)
        self.inputs, self.outputs = core.inputs, core.outputs

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Answer one request. Raises RequestError."""
        (outcome,) = self.run_all([tensors])
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    def run_all(self, inputs: Sequence[Mapping[str, Array]]) -> list[Outcome]:
        """One outcome a request, in order."""
        outcomes: dict[int, Outcome] = {}
        groups: dict[tuple[Any, ...], list[tuple[int, Checked]]] = {}
        for place, tensors in enumerate(inputs):
            try:
                refuse_impossible(tensors)
                request = self._core.check(tensors)
                groups.setdefault(request.kind, []).append((place, request))
            except Exception as error:  # noqa: BLE001  any fault must fail this request alone
                outcomes[place] = without_frames(error)
        for group in groups.values():
            for batch in self._batches(group):
                places, requests = zip(*batch, strict=True)
                outcomes.update(zip(places, answer_or_halve(self._answered, requests), strict=True))
        return [outcomes[place] for place in range(len(inputs))]

    def _batches(self, group: Sequence[tuple[int, Checked]]) -> Iterator[list[tuple[int, Checked]]]:
        batch: list[tuple[int, Checked]] = []
        rows = 0
        for place, request in group:
            if batch and rows + request.rows > self._max_rows:
                yield batch
                batch, rows = [], 0
            batch.append((place, request))
            rows += request.rows
        yield batch

    def _answered(self, requests: Sequence[Checked]) -> list[Outcome]:
        answers = self._core.answer(requests)
        ends = accumulate(request.rows for request in requests)
        return [
            {name: values[end - request.rows : end, : _columns(name, request)] for name, values in answers.items()}
            for request, end in zip(requests, ends, strict=True)
        ]


def _columns(name: str, request: Checked) -> int | None:
    return request.top_k if name in _BY_ITEM else None
