"""What the layouts of a single model share, whatever runs it."""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx

from nextitem_bundle.runtime.fused import PARTS

from ..graphs.merge import can_merge, merge, open_graph
from ..plan import Plan
from .steps import StepFolders

STEP, GRAPH = "step.json", "model.onnx"


@dataclasses.dataclass(frozen=True)
class OneModel:
    """A bundle that is one Triton model."""

    name: str

    @property
    def models(self) -> list[str]:
        """The one model."""
        return [self.name]

    def folders(self, build: Path, version: int) -> StepFolders:
        """Folders of the build that are not placed."""
        return StepFolders(*(build / f"{self.name}-{part}" for part in PARTS))

    def version_folder(self, build: Path, plan: Plan) -> Path:
        """The model's version folder."""
        return build / self.name / str(plan.signature.bundle_version)


def write_merged(folders: StepFolders, folder: Path, heads: Mapping[str, str], shown: Sequence[str] = ()) -> bool:
    """Write the merged graph with what the ranker's needs beside it; False where the graphs cannot be merged.

    heads, shown: see `merge`.
    """
    graphs = [open_graph(part) for part in folders]
    if not can_merge(graphs):
        return False
    onnx.save(merge(*graphs, heads, shown), str(folder / GRAPH))
    for file in folders.ranker.iterdir():  # large tables, the item index
        if file.name not in (STEP, GRAPH):
            shutil.copy(file, folder)
    return True
