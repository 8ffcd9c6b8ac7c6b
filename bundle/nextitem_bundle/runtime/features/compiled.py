"""The features step that runs the compiled workflow: one ONNX graph, or the same program in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from ..item_index import ItemIndex
from ..request import Array, Request
from ..step import OwnProcess, open_settings
from ..steps import CompiledFeatures, Newest
from . import FeaturesStep
from .program import Program

#: A graph or a program: tensors by name to tensors by name.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


def newest_of(newest: Newest, request: Request) -> int | None:
    """The window, where nothing older has to be looked at; strings cost most on their way into the graph."""
    if newest.window is None:
        return None
    if request.valid.shape[1] <= newest.window:
        return newest.window
    in_order = newest.sorted_by is None or request.rising(newest.sorted_by)
    return newest.window if in_order else None


class CompiledEncoder:
    """Encodes valid sessions.

    run: maps raw features [B, T] and `session_length` int64 [B, 1] to the model's features.
    """

    def __init__(self, run: Run, newest: Newest) -> None:
        self._run = run
        self._newest = newest

    def __call__(self, request: Request) -> dict[str, Array]:
        """One tensor [B, window] per model feature, padded on the right with 0."""
        return self._run(request.tensors(newest_of(self._newest, request)))


def open_step(folder: Path, settings: CompiledFeatures, own: OwnProcess | None = None) -> FeaturesStep:
    """Open the step of this folder: `model.onnx`, or `program/` where step.json's backend is `numpy`.

    Raises ValueError for another backend.
    """
    run: Run
    if settings.backend == "onnx":
        graph = open_settings(folder, settings.graph, own)
        run, outputs = graph.run, graph.outputs
    elif settings.backend == "numpy":
        program = Program.load(folder / "program")
        run, outputs = program.run, tuple(program.outputs)
    else:
        raise ValueError(f"step.json has backend '{settings.backend}', this runtime knows onnx, numpy")
    return FeaturesStep(CompiledEncoder(run, settings.newest), outputs, settings, ItemIndex.load(folder), own)
