"""Plots of the training log, drawn without a display. The only module that imports matplotlib."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

LOSS = "loss.png"
VALIDATION = "validation.png"


def draw(lines: Sequence[Mapping[str, Any]], folder: Path, metric: str) -> None:
    """Writes `loss.png` and, if there was a validation, `validation.png`.

    Args:
        lines: as `log.read_log` returns them.
        folder: where the files go.
        metric: the metric that chose the best epoch, which is marked.
    """
    losses = [line for line in lines if "loss" in line]
    if losses:
        _draw(folder / LOSS, "loss", {"loss": [(line["epoch"], line["loss"]) for line in losses]})
    validated = [line for line in lines if "validation" in line]
    if validated:
        names = [name for name in validated[0]["validation"] if name.startswith("recall") or name == metric]
        curves = {name: [(line["epoch"], line["validation"][name]) for line in validated] for name in names}
        # As the best checkpoint is chosen: the first of equals.
        best = max(curves[metric], key=lambda point: point[1])
        _draw(folder / VALIDATION, "on validation sessions", curves, best)


def _draw(
    path: Path,
    what: str,
    curves: Mapping[str, Sequence[tuple[float, float]]],
    best: tuple[float, float] | None = None,
) -> None:
    figure = Figure(figsize=(8, 5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot()
    for name, points in curves.items():
        axes.plot(*zip(*points, strict=True), marker=".", label=name)
    if best:
        axes.plot(*best, "o", markersize=12, fillstyle="none", color="black", label=f"best: epoch {best[0]:.0f}")
    axes.set(xlabel="epoch", ylabel=what)
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=100)
