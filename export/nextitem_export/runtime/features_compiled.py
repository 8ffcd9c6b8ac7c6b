"""The features step that runs the compiled workflow: one ONNX graph, or the same program in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from .features import FeaturesStep
from .graph_onnx import OnnxStep
from .item_index import ItemIndex
from .program import Program
from .request import Array, Request

#: A graph or a program: tensors by name to tensors by name.
Run = Callable[[Mapping[str, Array]], dict[str, Array]]


class CompiledEncoder:
    """Encodes valid sessions.

    run: maps raw features [B, T] and `session_length` int64 [B, 1] to the model's features. newest: `window` and
    `sorted_by`, where the features read no more than that many last interactions in the order of an integer column (null: as
    sent); None where they read whole sessions.
    """

    def __init__(self, run: Run, newest: Mapping[str, Any] | None) -> None:
        self._window: int | None = newest["window"] if newest else None
        self._sorted_by: str | None = newest["sorted_by"] if newest else None
        self._run = run

    def __call__(self, request: Request) -> dict[str, Array]:
        """One tensor [B, window] per model feature, padded on the right with 0."""
        return self._run(request.tensors(self._newest(request)))

    def _newest(self, request: Request) -> int | None:
        """The window, where nothing older has to be looked at; strings cost most on their way into the graph."""
        if self._window is None or request.valid.shape[1] <= self._window:
            return None
        in_order = self._sorted_by is None or request.rising(self._sorted_by)
        return self._window if in_order else None


def open_step(folder: Path, settings: Mapping[str, Any]) -> FeaturesStep:
    """Open the step of this folder: `model.onnx`, or `program/` where step.json's form is `numpy`.

    Raises ValueError for another form.
    """
    if settings["form"] not in _FORMS:
        raise ValueError(f"step.json has form '{settings['form']}', this runtime knows {', '.join(_FORMS)}")
    run, outputs = _FORMS[settings["form"]](folder, settings)
    return FeaturesStep(CompiledEncoder(run, settings["newest"]), outputs, settings, ItemIndex.load(folder))


def _onnx(folder: Path, settings: Mapping[str, Any]) -> tuple[Run, tuple[str, ...]]:
    graph = OnnxStep(folder, settings)
    return graph.run, graph.outputs


def _numpy(folder: Path, _: Mapping[str, Any]) -> tuple[Run, tuple[str, ...]]:
    program = Program.load(folder / "program")
    return program.run, tuple(program.outputs)


_FORMS = {"onnx": _onnx, "numpy": _numpy}
