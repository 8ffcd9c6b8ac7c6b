"""A step of a bundle: what a Triton model's version folder holds, opened without Triton."""

from __future__ import annotations

import dataclasses
import importlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .request import Array
from .tally import Tally

#: Kind of step (step.json's "kind") to the module of this package that opens it.
KINDS = {
    "features_compiled": "features_compiled",
    "features_nvtabular": "features_nvtabular",
    "retrieval": "retrieval",
    "onnx": "graph_onnx",
    "items": "items",
    "torchscript": "graph_torchscript",
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


@dataclasses.dataclass(frozen=True)
class OwnProcess:
    """What a step may do where nothing else runs in its process: change how the processor computes, and count.

    tally: where it counts.
    """

    tally: Tally


def open_step(folder: Path, own: OwnProcess | None = None) -> Step:
    """Open the step whose version folder this is, by the kind that its step.json names.

    own: given where nothing but the step runs in this process.
    Raises ValueError if the kind is unknown.
    """
    settings: dict[str, Any] = json.loads((folder / "step.json").read_text(encoding="utf-8"))
    settings["own"] = own
    kind = settings["kind"]
    if kind not in KINDS:
        raise ValueError(f"step.json has kind '{kind}', this runtime knows {', '.join(KINDS)}")
    # Imported by name so that a server needs only what its own steps use: torch for TorchScript, and so on.
    module = importlib.import_module(f".{KINDS[kind]}", __package__)
    return module.open_step(folder, settings)
