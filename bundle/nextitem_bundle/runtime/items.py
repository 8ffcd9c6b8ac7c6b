"""The items step: encoded items to raw ids, by the graph that `graphs/items.py` of the exporter writes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .graph_onnx import OnnxStep
from .request import Array


class ItemsStep(OnnxStep):
    """Runs the graph and counts the answers."""

    def __init__(self, folder: Path, settings: Mapping[str, Any]) -> None:
        super().__init__(folder, settings)
        self._own = settings.get("own")

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Raw ids, scores and status."""
        answer = super().run(tensors)
        if self._own:
            self._own.tally.answered(answer["status"], answer["scores"])
        return answer


def open_step(folder: Path, settings: Mapping[str, Any]) -> ItemsStep:
    """Open the step of this folder."""
    return ItemsStep(folder, settings)
