"""The layout `fused` of a native bundle: the three graphs as one model of Triton's ONNX Runtime backend."""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path

import onnx

from .._errors import ExportError
from ..graphs.merge import can_merge, merge, open_graph
from ..options import ExportOptions
from ..plan import Plan
from ..runtime.fused import PARTS
from ..triton_config import StepConfig, WarmUp
from .runtimes import RUNTIMES
from .steps import StepFolders, first_request, request_specs, response_specs

_STEP, _GRAPH = "step.json", "model.onnx"


@dataclasses.dataclass(frozen=True)
class NativeFusedLayout:
    """One model that answers one request at a time: with optional inputs Triton's own backends batch nothing."""

    name: str

    @property
    def models(self) -> list[str]:
        """The one model."""
        return [self.name]

    def folders(self, build: Path, version: int) -> StepFolders:
        """Folders of the build that are not placed."""
        return StepFolders(*(build / f"{self.name}-{part}" for part in PARTS))

    def assemble(self, build: Path, plan: Plan, options: ExportOptions) -> Path:
        """Merge the graphs. Raises ExportError where they cannot be."""
        folders = self.folders(build, plan.signature.bundle_version)
        graphs = [open_graph(part) for part in folders]
        if not can_merge(graphs):
            raise ExportError(
                f"--format {options.format} writes another opset than the features graph has, so that the three cannot be "
                "one graph: give --format onnx, or --layout ensemble"
            )
        folder = self._folder(build, plan)
        folder.mkdir(parents=True)
        onnx.save(merge(*graphs), str(folder / _GRAPH))
        for file in folders.ranker.iterdir():  # large tables lie beside the graph
            if file.name not in (_STEP, _GRAPH):
                shutil.copy(file, folder)
        settings = {
            "kind": "native",
            "threads": options.threads,
            "batched": False,
            "signature": plan.signature.to_json(),
        }
        (folder / _STEP).write_text(json.dumps(settings, indent=1), encoding="utf-8")
        RUNTIMES["native"].add_code(folder, "Session to items", self.name)
        return folder

    def write_configs(self, build: Path, plan: Plan, options: ExportOptions) -> None:
        """Write the model's config.pbtxt, with one warm-up request, and check it."""
        native, folder, version = RUNTIMES["native"], self._folder(build, plan), plan.signature.bundle_version
        config = StepConfig(
            self.name,
            tuple(request_specs(plan)),
            tuple(response_specs(plan)),
            max_batch_size=0,
            instances=options.instances,
            warm_ups=(WarmUp("session", first_request(plan)),),
            version=version,
            parameters={"nextitem.signature": plan.signature.to_json()},
            reasons={"max_batch_size:": "Triton joins no requests here: its own backends cannot with optional inputs."},
        )
        native.configured(config, folder, options).write(build / self.name)
        native.check(build / self.name, version)

    def _folder(self, build: Path, plan: Plan) -> Path:
        return build / self.name / str(plan.signature.bundle_version)
