"""The fused step: a request's raw tensors to its top-k items in one model, several requests in one run.

Requests of any lengths are answered together. Of each, only what it takes to join it with others is looked at; its values are
checked with those of the whole batch, which is halved where it is refused, until the bad request stands alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from .features import TOP_K
from .features.compiled import newest_of
from .filters import encode_filters
from .graphs.onnx import OnnxStep
from .item_index import ItemIndex
from .request import Array, read_request, read_shape, read_top_k
from .retrieval import read_constants
from .signature import Signature
from .step import OwnProcess
from .step import open_step as open_inner
from .steps import FusedGraph, FusedSteps
from .triton.batching import Outcome, answer_or_halve, without_frames
from .triton.concatenate import batch_key, concatenated
from .triton.load_shedding import LoadShedding
from .triton.shape_guard import refuse_impossible

#: Names, types and shapes of requests that are remembered: callers send few different ones.
_MOST_KNOWN = 4096
#: The steps of a fused model that is no single graph, in folders of these names.
PARTS = ("features", "retrieval", "items")
#: The tensors of an answer that have a column for each item.
_BY_ITEM = ("item_ids", "scores")


@dataclasses.dataclass(frozen=True)
class Checked:
    """A request that has been looked at. Those with an equal `kind` can be answered in one run. what: the core's own."""

    rows: int
    top_k: int
    kind: tuple[Any, ...]
    what: Any


class Core(Protocol):
    """What looks at requests, and answers several of one kind."""

    @property
    def outputs(self) -> tuple[str, ...]:
        """The names of an answer's tensors."""
        ...

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """Raises RequestError."""
        ...

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """The answers one below the other, with as many items as the one that wants most. Raises if any cannot be answered."""
        ...


class FusedStep:
    """Joins requests to batches of at most `max_rows` sessions, unless one request alone has more.

    load_shedding: how many of those that have come are answered.
    """

    batched = True

    def __init__(self, core: Core, signature: Signature, *, max_rows: int, load_shedding: LoadShedding) -> None:
        self._core = core
        self._max_rows = max_rows
        self.load_shedding = load_shedding
        self.inputs = (*(feature.name for feature in signature.features), *signature.options)
        self.outputs = core.outputs

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Answer one request: raw features [B, T] and optional tensors to the answer. Raises RequestError."""
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


class OneGraph:
    """Features, retrieval and items merged into one ONNX graph."""

    def __init__(self, folder: Path, settings: FusedGraph, own: OwnProcess | None) -> None:
        self._signature = settings.signature
        self._newest = settings.newest
        self._excluded, self._allowed = settings.filters
        self._index = ItemIndex.load(folder)
        self._constants = read_constants(folder, settings.ranking, self._index)
        self._graph = OnnxStep(folder, settings.graph, own)
        self._known: dict[tuple[Any, ...], tuple[int, tuple[Any, ...] | None]] = {}
        self._own, self._codes = own, settings.codes
        self.outputs = tuple(name for name in self._graph.outputs if name != self._codes)

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """See Core. Values but for `top_k` are left to `answer`."""
        outline = tuple((name, values.dtype.char, values.shape) for name, values in tensors.items())
        known = self._known.get(outline)
        if known is None:
            known = self._looked_at(tensors)
            if len(self._known) < _MOST_KNOWN:
                self._known[outline] = known
        rows, kind = known
        top_k = read_top_k(tensors.get("top_k"), rows, self._signature)
        return Checked(rows, top_k, kind or (object(),), tensors)

    def _looked_at(self, tensors: Mapping[str, Array]) -> tuple[int, tuple[Any, ...] | None]:
        """The request's number of sessions and its batch_key, which follow from names, types and shapes alone."""
        rows, _ = read_shape(tensors, self._signature)
        return rows, batch_key(tensors, self._signature, rows)

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """See Core."""
        tensors = concatenated([request.what for request in requests], self._signature)
        request = read_request(tensors, self._signature)
        excluded, allowed = encode_filters(tensors, request, self._signature, self._index)
        answer = self._graph.run(
            {
                **self._constants,
                **request.tensors(newest_of(self._newest, request)),
                self._excluded: excluded,
                self._allowed: allowed,
                TOP_K: np.array([max(request.top_k for request in requests)], dtype=np.int64),
            }
        )
        codes = answer.pop(self._codes)
        if self._own:
            self._own.counters.read(request.lengths, codes)
            self._own.counters.answered(answer["status"], answer["scores"])
        return answer


class Chain:
    """The three steps one after the other in this process, where they are not three graphs of one kind."""

    def __init__(self, folder: Path, settings: FusedSteps, own: OwnProcess | None) -> None:
        self._features, self._retrieval, self._items = (open_inner(folder / part, own) for part in PARTS)
        self._filters = settings.filters
        #: The retrieval step's outputs, and what the items step calls them.
        self._ranked = settings.ranked
        #: Those of further heads, and the answer's names for them.
        self._heads = settings.heads
        self.outputs = (*self._items.outputs, *self._heads.values())

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """See Core."""
        encoded = self._features.run(tensors)
        widths = tuple(encoded[name].shape[1] for name in self._filters)
        return Checked(len(encoded[self._filters[0]]), int(encoded[TOP_K][0]), widths, encoded)

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """See Core."""
        joined = {name: np.concatenate([request.what[name] for request in requests]) for name in self._retrieval.inputs}
        top_k = np.array([max(request.top_k for request in requests)], dtype=np.int64)
        ranked = self._retrieval.run({**joined, TOP_K: top_k})
        answer = self._items.run({**{to: ranked[name] for name, to in self._ranked.items()}, TOP_K: top_k})
        return answer | {to: ranked[name] for name, to in self._heads.items()}


def open_step(folder: Path, settings: FusedGraph | FusedSteps, own: OwnProcess | None = None) -> FusedStep:
    """Open the step of this folder: one graph, or the folders of three steps."""
    core = OneGraph(folder, settings, own) if isinstance(settings, FusedGraph) else Chain(folder, settings, own)
    queue = settings.queue
    return FusedStep(
        core,
        settings.signature,
        max_rows=queue.preferred_batch_size,
        load_shedding=LoadShedding(queue.max_queue_size, queue.max_queue_ms, queue.warm_ups),
    )
