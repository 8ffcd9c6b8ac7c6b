"""The items step: encoded items to raw ids, by a graph of ONNX Runtime or, where a server has none, by a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np

from .queued import Checked, QueuedStep
from .request import Array
from .special_ids import STATUS
from .step import OwnProcess, Step, open_settings
from .steps import Items

#: Raw ids by code, the special codes' null included: int64 or UTF-8 bytes [V].
TABLE = "items.npy"


class Decoder(Protocol):
    """What turns codes into ids; its inputs and outputs are those of the step."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Raw ids [B, K], scores float32 [B, K] and status [B, 1], cut to the number of items that are wanted."""
        ...


class ItemTable:
    """The table in numpy, mapped from disk; answers as the graph does."""

    outputs: tuple[str, ...] = ("item_ids", "scores", "status")

    def __init__(self, folder: Path, inputs: tuple[str, ...]) -> None:
        self.inputs = inputs
        self._ids = np.asarray(np.load(folder / TABLE, mmap_mode="r", allow_pickle=False))
        self._status = np.array(STATUS, dtype=np.object_)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """See Decoder. Strings are object arrays of str."""
        codes, scores, status, top_k = (tensors[name] for name in self.inputs)
        wanted = int(top_k[0])
        ids = self._ids[codes[:, :wanted]]
        if ids.dtype.kind == "S":
            ids = np.char.decode(ids, "utf-8").astype(np.object_)
        return dict(zip(self.outputs, (ids, scores[:, :wanted], self._status[status]), strict=True))


class IdDecoder:
    """Decodes, and counts the answers. Its inputs are a decoder's, but that `top_k` is INT64 [B, 1]: requests can be joined."""

    def __init__(self, decoder: Decoder, own: OwnProcess | None = None) -> None:
        self._decoder = decoder
        self._own = own
        self.inputs, self.outputs = decoder.inputs, decoder.outputs

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Raw ids, scores and status, with as many items as the session that wants most."""
        name = self.inputs[-1]
        top_k = tensors[name]
        answer = self._decoder.run({**tensors, name: top_k.max(axis=0)})
        if self._own:
            self._own.counters.answered(answer["status"], answer["scores"], top_k)
        return answer

    def check(self, tensors: Mapping[str, Array]) -> Checked:
        """See Core."""
        codes, *_, top_k = (tensors[name] for name in self.inputs)
        return Checked(len(codes), int(top_k[0, 0]), codes.shape[1:], tensors)

    def answer(self, requests: Sequence[Checked]) -> dict[str, Array]:
        """See Core."""
        return self.run({name: np.concatenate([request.what[name] for request in requests]) for name in self.inputs})


def open_step(folder: Path, settings: Items, own: OwnProcess | None = None) -> Step:
    """Open the step of this folder: `model.onnx`, or `items.npy` where step.json's backend is `numpy`.

    Raises ValueError for another backend.
    """
    step = IdDecoder(_decoder(folder, settings, own), own)
    return QueuedStep(step, settings.queue) if settings.queue else step


def _decoder(folder: Path, settings: Items, own: OwnProcess | None) -> Decoder:
    if settings.backend == "numpy":
        return ItemTable(folder, settings.inputs)
    if settings.backend == "onnx":
        return open_settings(folder, settings.graph, own)
    raise ValueError(f"step.json has backend '{settings.backend}', this runtime knows onnx, numpy")
