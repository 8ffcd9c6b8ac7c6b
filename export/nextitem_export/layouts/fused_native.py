"""The layout `fused` of a native bundle: the three graphs as one model of Triton's ONNX Runtime backend."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from nextitem_bundle.config import StepConfig, WarmUp

from .._errors import ExportError
from ..options import ExportOptions
from ..plan import Plan
from .one_model import STEP, OneModel, write_merged
from .runtimes import RUNTIMES
from .steps import first_request, head_names, request_specs, response_specs


@dataclasses.dataclass(frozen=True)
class NativeFusedLayout(OneModel):
    """One model that answers one request at a time: with optional inputs Triton's own backends batch nothing."""

    def assemble(self, build: Path, plan: Plan, options: ExportOptions) -> Path:
        """Merge the graphs. Raises ExportError where they cannot be."""
        folders = self.folders(build, plan.signature.bundle_version)
        folder = self.version_folder(build, plan)
        folder.mkdir(parents=True)
        if not write_merged(folders, folder, head_names(plan)):
            raise ExportError(
                f"format '{options.format}' writes another opset than the features graph has, so that the three cannot be "
                "one graph: give ExportOptions(format='onnx'), or ExportOptions(layout='ensemble')"
            )
        settings = {
            "kind": "native",
            "threads": options.threads,
            "batched": False,
            "signature": plan.signature.to_json(),
        }
        (folder / STEP).write_text(json.dumps(settings, indent=1), encoding="utf-8")
        RUNTIMES["native"].add_code(folder, "Session to items", self.name)
        return folder

    def write_configs(self, build: Path, plan: Plan, options: ExportOptions) -> None:
        """Write the model's config.pbtxt, with one warm-up request, and check it."""
        native, folder, version = RUNTIMES["native"], self.version_folder(build, plan), plan.signature.bundle_version
        config = StepConfig(
            self.name,
            tuple(request_specs(plan)),
            tuple(response_specs(plan)),
            max_batch_size=0,
            instances=options.instances,
            warm_ups=(WarmUp("session", first_request(plan)),),
            version=version,
            warm_up_folder=str(version),
            parameters={"nextitem.signature": plan.signature.to_json()},
            reasons={"max_batch_size:": "Triton joins no requests here: its own backends cannot with optional inputs."},
        )
        native.configured(config, folder, options).write(build / self.name)
        native.check(build / self.name, version)
