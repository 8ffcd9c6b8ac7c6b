"""The features step that runs the compiled workflow: one ONNX graph, or the same program in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from .graph_onnx import OnnxStep
from .program import Program
from .request import Array, read_request
from .signature import Signature


class CompiledFeatures:
    """Encodes raw sessions. `encode` maps raw features [B, T] and `session_length` int64 [B, 1] to the model's features."""

    batched = False

    def __init__(self, encode: Any, signature: Signature, outputs: tuple[str, ...]) -> None:
        self._encode = encode
        self._signature = signature
        self.inputs = (*(feature.name for feature in signature.features), *signature.options)
        self.outputs = (*outputs, "top_k_checked")

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Encode a request.

        tensors: raw features [B, T] and optional tensors. Returns one tensor [B, window] per model feature, padded on
        the right with 0, and `top_k_checked` INT64 [1]. Raises RequestError.
        """
        request = read_request(tensors, self._signature)
        encoded: dict[str, Array] = self._encode({**request.tensors, "session_length": request.lengths[:, None]})
        return {**encoded, "top_k_checked": np.array([request.top_k], dtype=np.int64)}


def open_step(folder: Path, settings: Mapping[str, Any]) -> CompiledFeatures:
    """Open the step of this folder: `model.onnx` where there is one, else the program in `program/`."""
    signature = Signature.from_json(settings["signature"])
    if (folder / "model.onnx").exists():
        graph = OnnxStep(folder, settings)
        return CompiledFeatures(graph.run, signature, graph.outputs)
    program = Program.load(folder / "program")
    return CompiledFeatures(program.run, signature, tuple(program.outputs))
