"""How the three graphs of a bundle are laid out as Triton models: one file a layout."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from ..options import ExportOptions
from ..plan import Plan
from .ensemble import EnsembleLayout
from .fused import FusedLayout
from .steps import StepFolders


class Layout(Protocol):
    """The models of one bundle.

    models: in the order in which they are placed, the one that clients call last.
    """

    @property
    def models(self) -> list[str]:
        """Their names."""
        ...

    def folders(self, build: Path, version: int) -> StepFolders:
        """Where the three steps are built."""
        ...

    def assemble(self, build: Path, plan: Plan, options: ExportOptions) -> Path | None:
        """Make one model of the steps; returns its version folder, None where the steps stay what they are."""
        ...

    def write_configs(self, build: Path, plan: Plan, options: ExportOptions) -> None:
        """Write the config.pbtxt of all models, with warm-up requests made of the sample."""
        ...


#: From the bundle's name to its layout.
LAYOUTS: dict[str, Callable[[str], Layout]] = {"ensemble": EnsembleLayout, "fused": FusedLayout}


__all__ = ["LAYOUTS", "Layout", "StepFolders"]
