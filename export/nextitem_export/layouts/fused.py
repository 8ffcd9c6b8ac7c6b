"""The layout `fused`: the three graphs as one model, for the fewest hops between a request and its answer.

What one of the graphs gives and the next one takes becomes a tensor inside of the merged one.
"""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from nextitem_bundle.config import StepConfig, WarmUp
from nextitem_bundle.runtime.fused import PARTS
from nextitem_bundle.runtime.steps import (
    FusedGraph,
    FusedSteps,
    OnnxGraph,
    Retrieval,
    read_step,
    write_step,
)

from ..graphs import id_decoder
from ..graphs.merging import write_merged
from ..options import ExportOptions
from ..plan import Plan
from ..retrieval.tensors import OUTPUTS
from .runtimes import add_python_model, batching, queue, queued, warm_batches, without_batch
from .steps import StepFolders, first_request, head_names, request_specs, response_specs


@dataclasses.dataclass(frozen=True)
class FusedLayout:
    """One model. Requests of any lengths come in one batch and are joined by the runtime."""

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

    def assemble(self, build: Path, plan: Plan, options: ExportOptions) -> Path:
        """Merge the graphs, or lay the steps beside each other where they are of different kinds."""
        folders = self.folders(build, plan.signature.bundle_version)
        folder = self.version_folder(build, plan)
        folder.mkdir(parents=True)
        features, retrieval, _ = (read_step(part) for part in folders)
        waiting = queue(options)
        if isinstance(retrieval, Retrieval) and write_merged(folders, folder, head_names(plan), plan.item_tensor):
            settings = FusedGraph(
                signature=plan.signature,
                filters=features.filters,
                codes=plan.item_tensor,
                newest=features.newest,
                graph=OnnxGraph(options.threads),
                ranking=retrieval.ranking,
                queue=waiting,
            )
        else:
            for part, source in zip(PARTS, folders, strict=True):
                shutil.copytree(source, folder / part)
            ranked: dict[str, str] = dict(zip(OUTPUTS, id_decoder.INPUTS[:3], strict=True))
            settings = FusedSteps(plan.signature, features.filters, ranked, head_names(plan), waiting)
        write_step(folder, settings)
        add_python_model(folder, "Session to items", self.name)
        return folder

    def write_configs(self, build: Path, plan: Plan, options: ExportOptions) -> None:
        """Write the model's config.pbtxt, with warm-up requests of the batch sizes that matter."""
        first = first_request(plan)
        config = StepConfig(
            self.name,
            tuple(without_batch(spec) for spec in request_specs(plan)),
            tuple(without_batch(spec) for spec in response_specs(plan)),
            max_batch_size=options.max_sessions,
            batching=batching(options),
            instances=options.instances,
            warm_ups=tuple(
                WarmUp(f"batch_{size}", {name: values.repeat(size, axis=0) for name, values in first.items()})
                for size in warm_batches(options)
            ),
            version=plan.signature.bundle_version,
            warm_up_folder=str(plan.signature.bundle_version),
            parameters={"nextitem.signature": plan.signature.to_json()},
        )
        queued(config).write(build / self.name)
