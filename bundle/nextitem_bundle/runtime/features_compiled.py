"""The features step that runs the compiled workflow: one ONNX graph, or the same program in numpy."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .features import FeaturesStep
from .item_index import ItemIndex
from .program import Program
from .request import Array, Request

#: A graph or a program: tensors by name to tensors by name.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


@dataclasses.dataclass(frozen=True)
class Newest:
    """How much of a session the features read: the `window` last interactions, in the order of `sorted_by`.

    window: None where whole sessions are read. sorted_by: an integer column (null: as sent), None for the order of the
    request.
    """

    window: int | None
    sorted_by: str | None

    @classmethod
    def of(cls, settings: Mapping[str, Any] | None) -> Newest:
        """From step.json's `newest`."""
        return cls(settings["window"], settings["sorted_by"]) if settings else cls(None, None)

    def of_request(self, request: Request) -> int | None:
        """The window, where nothing older has to be looked at; strings cost most on their way into the graph."""
        if self.window is None:
            return None
        if request.valid.shape[1] <= self.window:
            return self.window
        in_order = self.sorted_by is None or request.rising(self.sorted_by)
        return self.window if in_order else None


class CompiledEncoder:
    """Encodes valid sessions.

    run: maps raw features [B, T] and `session_length` int64 [B, 1] to the model's features.
    """

    def __init__(self, run: Run, newest: Newest) -> None:
        self._run = run
        self._newest = newest

    def __call__(self, request: Request) -> dict[str, Array]:
        """One tensor [B, window] per model feature, padded on the right with 0."""
        return self._run(request.tensors(self._newest.of_request(request)))


def open_step(folder: Path, settings: Mapping[str, Any]) -> FeaturesStep:
    """Open the step of this folder: `model.onnx`, or `program/` where step.json's form is `numpy`.

    Raises ValueError for another form.
    """
    if settings["form"] not in _FORMS:
        raise ValueError(f"step.json has form '{settings['form']}', this runtime knows {', '.join(_FORMS)}")
    run, outputs = _FORMS[settings["form"]](folder, settings)
    return FeaturesStep(CompiledEncoder(run, Newest.of(settings["newest"])), outputs, settings, ItemIndex.load(folder))


def _onnx(folder: Path, settings: Mapping[str, Any]) -> tuple[Run, tuple[str, ...]]:
    # By name: a step of the other form runs where ONNX Runtime is not installed.
    graph = importlib.import_module(".graph_onnx", __package__).open_step(folder, settings)
    return graph.run, graph.outputs


def _numpy(folder: Path, _: Mapping[str, Any]) -> tuple[Run, tuple[str, ...]]:
    program = Program.load(folder / "program")
    return program.run, tuple(program.outputs)


_FORMS = {"onnx": _onnx, "numpy": _numpy}
