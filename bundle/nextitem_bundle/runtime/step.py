"""A step of a bundle: what a Triton model's version folder holds, opened without Triton."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from .counters import Counters
from .request import Array
from .steps import kind_of, read_step


class Step(Protocol):
    """One step."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Compute the outputs. Raises RequestError if the tensors cannot be answered."""
        ...


@dataclasses.dataclass(frozen=True)
class OwnProcess:
    """What a step may do where nothing else runs in its process: change how the processor computes, and count.

    counters: where it counts.
    """

    counters: Counters


def open_step(folder: Path, own: OwnProcess | None = None) -> Step:
    """Open the step whose version folder this is, by the kind that its step.json names.

    own: given where nothing but the step runs in this process.
    Raises StepError where step.json cannot be read.
    """
    return open_settings(folder, read_step(folder), own)


def open_settings(folder: Path, settings: Any, own: OwnProcess | None = None) -> Step:
    """Open what settings say: of the step of this folder, or of its graph."""
    # Imported by name so that a server needs only what its own steps use: torch for TorchScript, and so on.
    module = importlib.import_module(f".{kind_of(settings).module}", __package__)
    return module.open_step(folder, settings, own)
