"""The fused step: a request's raw tensors to its top-k items in one model, several requests in one run.

Requests of any lengths are answered together. Of each, only what it takes to join it with others is looked at; its values are
checked with those of the whole batch, which is halved where it is refused, until the bad request stands alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .features import TOP_K
from .features.compiled import newest_of
from .filters import encode_filters
from .graphs.onnx import OnnxStep
from .item_index import ItemIndex
from .queued import Checked, QueuedStep
from .request import Array, read_request, read_shape, read_top_k
from .retrieval import read_constants
from .step import OwnProcess
from .step import open_step as open_inner
from .steps import FusedGraph, FusedSteps
from .triton.concatenate import batch_key, concatenated

#: Names, types and shapes of requests that are remembered: callers send few different ones.
_MOST_KNOWN = 4096
#: The steps of a fused model that is no single graph, in folders of these names.
PARTS = ("features", "retrieval", "items")


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
        self.inputs = settings.signature.inputs
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
        top_k = _wanted(requests)
        answer = self._graph.run(
            {
                **self._constants,
                **request.tensors(newest_of(self._newest, request)),
                self._excluded: excluded,
                self._allowed: allowed,
                TOP_K: top_k.max(axis=0),
            }
        )
        codes = answer.pop(self._codes)
        if self._own:
            self._own.counters.read(request.lengths, codes)
            self._own.counters.answered(answer["status"], answer["scores"], top_k)
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
        self.inputs = settings.signature.inputs
        self.outputs = (*self._items.outputs, *self._heads.values())

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """See Core."""
        encoded = self._features.run(tensors)
        widths = tuple(encoded[name].shape[1] for name in self._filters)
        return Checked(len(encoded[self._filters[0]]), int(encoded[TOP_K][0, 0]), widths, encoded)

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """See Core."""
        joined = {name: np.concatenate([request.what[name] for request in requests]) for name in self._retrieval.inputs}
        top_k = _wanted(requests)
        ranked = self._retrieval.run({**joined, TOP_K: top_k.max(axis=0)})
        answer = self._items.run({**{to: ranked[name] for name, to in self._ranked.items()}, TOP_K: top_k})
        return answer | {to: ranked[name] for name, to in self._heads.items()}


def _wanted(requests: Sequence[Checked]) -> Array:
    """How many items each session wants, int64 [B, 1]."""
    wanted = np.array([request.top_k for request in requests], dtype=np.int64)
    return np.repeat(wanted, [request.rows for request in requests])[:, None]


def open_step(folder: Path, settings: FusedGraph | FusedSteps, own: OwnProcess | None = None) -> QueuedStep:
    """Open the step of this folder: one graph, or the folders of three steps."""
    core = OneGraph(folder, settings, own) if isinstance(settings, FusedGraph) else Chain(folder, settings, own)
    return QueuedStep(core, settings.queue)
