"""A step that is one TorchScript module, run by torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ..request import Array
from ..step import OwnProcess
from ..steps import TorchScriptGraph


class TorchScriptStep:
    """Runs `model.pt` of the folder; inputs and outputs by position, in the order of step.json."""

    def __init__(self, folder: Path, settings: TorchScriptGraph) -> None:
        self._module: Any = torch.jit.load(  # pyright: ignore[reportPrivateImportUsage, reportUnknownMemberType]
            str(folder / "model.pt"), map_location="cpu"
        ).eval()
        self._threads = settings.threads
        self.inputs = settings.inputs
        self.outputs = settings.outputs

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the module's outputs from its inputs, shapes as at export."""
        if torch.get_num_threads() != self._threads:
            torch.set_num_threads(self._threads)
        arguments = [torch.from_numpy(_writable(tensors[name])) for name in self.inputs]  # pyright: ignore[reportUnknownMemberType]
        with torch.inference_mode():
            values = self._module(*arguments)
        return {name: value.numpy() for name, value in zip(self.outputs, values, strict=True)}


def _writable(values: Array) -> Array:
    # torch warns about arrays that it could write to behind numpy's back; Triton's are read-only.
    return values if values.flags.writeable else np.array(values)


def open_step(folder: Path, settings: TorchScriptGraph, own: OwnProcess | None = None) -> TorchScriptStep:
    """Open the step of this folder."""
    return TorchScriptStep(folder, settings)
