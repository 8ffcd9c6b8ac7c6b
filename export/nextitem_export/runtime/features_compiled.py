"""The features step that runs the compiled workflow: one ONNX graph, or the same program in numpy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .features import FeaturesStep
from .graph_onnx import OnnxStep
from .item_index import ItemIndex
from .program import Program
from .request import Array, Request


def open_step(folder: Path, settings: Mapping[str, Any]) -> FeaturesStep:
    """Open the step of this folder: `model.onnx` where there is one, else the program in `program/`."""
    if (folder / "model.onnx").exists():
        run, outputs = (graph := OnnxStep(folder, settings)).run, graph.outputs
    else:
        run, outputs = (program := Program.load(folder / "program")).run, tuple(program.outputs)

    def encode(request: Request) -> dict[str, Array]:
        return run({**request.tensors, "session_length": request.lengths[:, None]})

    return FeaturesStep(encode, outputs, settings, ItemIndex.load(folder))
