"""A step that is one ONNX graph, run by ONNX Runtime."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import onnxruntime  # pyright: ignore[reportMissingTypeStubs]

from ..request import Array
from ..step import OwnProcess
from ..steps import OnnxGraph

_ort: Any = onnxruntime


def _open_session(folder: Path, threads: int, *, own_process: bool) -> Any:
    """`model.onnx` of the folder.

    own_process: see `open_step`; numbers too small for float32's full precision become 0 from then on.
    """
    options = _ort.SessionOptions()
    # The default, one thread per core that spins while idle, slows every other model of the server down.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if own_process:
        # What attention hides gets weights below 1e-38, with which some processors compute ten times as long.
        options.add_session_config_entry("session.set_denormal_as_zero", "1")
    return _ort.InferenceSession(str(folder / "model.onnx"), options, providers=["CPUExecutionProvider"])


class OnnxStep:
    """Runs `model.onnx` of the folder on as many threads as step.json says."""

    def __init__(self, folder: Path, settings: OnnxGraph, own: OwnProcess | None = None) -> None:
        self._session: Any = _open_session(folder, settings.threads, own_process=own is not None)
        self.inputs = tuple(node.name for node in self._session.get_inputs())
        self.outputs = tuple(node.name for node in self._session.get_outputs())

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the graph's outputs from its inputs, shapes as the graph declares them."""
        values = self._session.run(None, {name: tensors[name] for name in self.inputs})
        return dict(zip(self.outputs, values, strict=True))


def open_step(folder: Path, settings: OnnxGraph, own: OwnProcess | None = None) -> OnnxStep:
    """Open the step of this folder."""
    return OnnxStep(folder, settings, own)
