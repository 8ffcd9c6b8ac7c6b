"""config.pbtxt for Triton's own backends."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from nextitem_bundle.config import StepConfig

from ..options import ExportOptions
from .lint import MODEL_FILES, ONNXRUNTIME, PYTORCH

#: Why a native model's fields are as they are: comments in front of them.
_REASONS = {
    "instance_group {": (
        "Counted on purpose: without a count Triton takes two on CPU, each with weights and vocabularies of its own."
    ),
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
    """The step's configuration for the backend that its graph is for."""
    backend = next(name for name, file in MODEL_FILES.items() if (version_folder / file).is_file())
    threads = json.loads((version_folder / "step.json").read_text(encoding="utf-8"))["threads"]
    reasons = {**config.reasons, **_REASONS, **(_ON_GPU if config.accelerator != "none" else {})}
    return dataclasses.replace(config, backend=backend, backend_parameters=_threads(backend, threads), reasons=reasons)


def _threads(backend: str, threads: int) -> dict[str, str]:
    names = {
        ONNXRUNTIME: ("intra_op_thread_count", "inter_op_thread_count"),
        PYTORCH: ("INTRA_OP_THREAD_COUNT", "INTER_OP_THREAD_COUNT"),
    }
    within, between = names[backend]
    return {within: str(threads), between: "1"}
