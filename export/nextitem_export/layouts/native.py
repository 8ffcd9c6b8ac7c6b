"""The retrieval step of a native bundle: its graph as Triton's own backends take it, and the config.pbtxt that they read."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper

from nextitem_bundle.config import StepConfig
from nextitem_bundle.runtime.item_index import FILES as ITEM_INDEX_FILES
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY, read_constants
from nextitem_bundle.runtime.steps import OnnxGraph, TorchScriptGraph, read_step, write_step

from ..options import ExportOptions
from ..retrieval.formats import save_torchscript


@dataclasses.dataclass(frozen=True)
class Backend:
    """One of Triton's own. threads: its names for the threads within an operation and between operations."""

    name: str
    threads: tuple[str, str]


#: By the kind of the retrieval step's graph.
BACKENDS: dict[type, Backend] = {
    OnnxGraph: Backend("onnxruntime", ("intra_op_thread_count", "inter_op_thread_count")),
    TorchScriptGraph: Backend("pytorch", ("INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT")),
}

#: Why the fields are as they are: comments in front of them.
_REASONS = {
    "instance_group {": "Counted on purpose: without a count Triton takes two on CPU, each with weights of its own.",
    "parameters {": (
        "Threads are set on purpose: the backend's default, a thread for each core in each model, was several times slower."
    ),
}
_ON_GPU = {
    "instance_group {": "On each GPU; without one the load fails. Each instance holds all weights in the GPU's memory.",
    "optimization {": (
        "ONNX Runtime gives TensorRT what it can of the graph, and builds an engine for each batch size at its first request: "
        "the warm-up asks those that matter, and loading takes minutes."
    ),
}


def as_native(config: StepConfig, version_folder: Path, options: ExportOptions) -> StepConfig:
    """The retrieval step's configuration for the backend that its graph is for."""
    graph = read_step(version_folder)
    backend = BACKENDS[type(graph)]
    reasons = {**config.reasons, **_REASONS, **(_ON_GPU if options.accelerator != "none" else {})}
    threads = dict(zip(backend.threads, (str(graph.threads), "1"), strict=True))
    return dataclasses.replace(config, backend=backend.name, backend_parameters=threads, reasons=reasons)


def bake_availability(folder: Path, example: Mapping[str, np.ndarray]) -> None:
    """Make what the retrieval step in this version folder takes from the availability list a constant of its graph.

    Triton's own backends read no list. example: the retrieval step's tensors for some sessions, by name.
    """
    settings = read_step(folder)
    constants = read_constants(folder, settings.ranking, ItemIndex.load(folder))
    if isinstance(settings.graph, OnnxGraph):
        write_step(folder, _bake_onnx(folder, settings.graph, constants))
    else:
        write_step(folder, _bake_torchscript(folder, settings.graph, constants, example))
    for name in (AVAILABILITY, *ITEM_INDEX_FILES):
        (folder / name).unlink()


def _bake_onnx(folder: Path, graph: OnnxGraph, constants: Mapping[str, np.ndarray]) -> OnnxGraph:
    path = str(folder / "model.onnx")
    model = onnx.load(path, load_external_data=False)
    kept = [given for given in model.graph.input if given.name not in constants]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in constants.items())
    onnx.save(model, path)
    return graph


class _Available(torch.nn.Module):
    """The retrieval step with its last input given."""

    available: torch.Tensor

    def __init__(self, retrieval: torch.nn.Module, available: torch.Tensor) -> None:
        super().__init__()
        self.retrieval = retrieval
        self.register_buffer("available", available)

    def forward(self, *tensors: torch.Tensor) -> Any:
        """What the retrieval step gives."""
        return self.retrieval(*tensors, self.available)


def _bake_torchscript(
    folder: Path, graph: TorchScriptGraph, constants: Mapping[str, np.ndarray], example: Mapping[str, np.ndarray]
) -> TorchScriptGraph:
    retrieval = torch.jit.load(str(folder / "model.pt"), map_location="cpu").eval()
    inputs = tuple(name for name in graph.inputs if name not in constants)
    (available,) = constants.values()
    tensors = tuple(torch.from_numpy(example[name]) for name in inputs)
    # The retrieval step is called as it was traced: it stays as general as it is.
    baked = torch.jit.trace(_Available(retrieval, torch.from_numpy(available)).eval(), tensors, check_trace=False)
    save_torchscript(torch.jit.freeze(baked), folder)
    return dataclasses.replace(graph, inputs=inputs)
