"""A step of a bundle: what a Triton model's version folder holds, opened without Triton."""

from __future__ import annotations

import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .request import Array

#: Kind of step (step.json's "kind") to the module of this package that opens it.
KINDS = {
    "features_compiled": "features_compiled",
    "features_nvtabular": "features_nvtabular",
    "ranker": "ranker",
    "onnx": "graph_onnx",
    "torchscript": "graph_torchscript",
    "native": "graph_native",
    "fused": "fused",
}


class Step(Protocol):
    """One step. `batched`: its inputs may be joined along the first axis with those of other requests."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    batched: bool

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs. Raises RequestError if the tensors cannot be answered."""
        ...


def open_step(folder: Path, *, own_process: bool = False) -> Step:
    """Open the step whose version folder this is, by the kind that its step.json names.

    own_process: nothing but the step runs in this process, so it may change how the processor computes.
    Raises ValueError if the kind is unknown.
    """
    settings: dict[str, Any] = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    settings["own_process"] = own_process
    kind = settings["kind"]
    if kind not in KINDS:
        raise ValueError(f"step.json has kind '{kind}', this runtime knows {', '.join(KINDS)}")
    # Imported by name so that a server needs only what its own steps use: torch for TorchScript, and so on.
    module = importlib.import_module(f".{KINDS[kind]}", __package__)
    return module.open_step(folder, settings)
