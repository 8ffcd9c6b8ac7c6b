"""The layout `fused`: the three graphs as one model, for the fewest hops between a request and its answer.

What one of the graphs gives and the next one takes becomes a tensor inside of the merged one.
"""

from __future__ import annotations

import dataclasses
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper

from nextitem_bundle.config import StepConfig, WarmUp
from nextitem_bundle.runtime.fused import PARTS
from nextitem_bundle.runtime.steps import (
    STEP,
    AnnRetrieval,
    FusedGraph,
    FusedSteps,
    Retrieval,
    read_step,
    write_step,
)

from ..graphs import id_decoder
from ..graphs.id_decoder import INPUTS as ITEMS_INPUTS
from ..options import ExportOptions
from ..plan import Plan
from ..retrieval.module import OUTPUTS
from ..retrieval.nodes import rename_values
from .runtimes import add_python_model, batching, queue, queued, warm_batches, without_batch
from .steps import StepFolders, first_request, head_names, request_specs, response_specs

GRAPH = "model.onnx"


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
        if _are_graphs(folders, retrieval) and _write_merged(folders, folder, plan):
            settings = FusedGraph(
                signature=plan.signature,
                filters=features.filters,
                codes=plan.item_tensor,
                newest=features.newest,
                graph=retrieval.graph,
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


def _are_graphs(folders: StepFolders, retrieval: Retrieval | AnnRetrieval) -> bool:
    """Whether each step is an ONNX graph and nothing else."""
    return all((part / GRAPH).is_file() for part in folders) and isinstance(retrieval, Retrieval)


def _write_merged(folders: StepFolders, folder: Path, plan: Plan) -> bool:
    """Write the merged graph with what the retrieval step's needs beside it; False where the graphs cannot be merged."""
    features, retrieval, items = graphs = [open_graph(part) for part in folders]
    if not can_merge(graphs):
        return False
    onnx.save(merge(features, retrieval, items, head_names(plan), [plan.item_tensor]), str(folder / GRAPH))
    for file in folders.retrieval.iterdir():  # large tables, the item index
        if file.name not in (STEP, GRAPH):
            shutil.copy(file, folder)
    return True


def can_merge(models: Sequence[onnx.ModelProto]) -> bool:
    """Whether the graphs speak the same opset of each domain; torch's newer exporter writes a later one than ours."""
    versions: dict[str, set[int]] = {}
    for model in models:
        for opset in model.opset_import:
            versions.setdefault(opset.domain, set()).add(opset.version)
    return all(len(found) == 1 for found in versions.values())


def merge(
    features: onnx.ModelProto,
    retrieval: onnx.ModelProto,
    items: onnx.ModelProto,
    heads: Mapping[str, str],
    shown: Sequence[str] = (),
) -> onnx.ModelProto:
    """One model of the three, which must agree in their opsets.

    Inputs are those of the features graph, then what retrieval and the items graph take from nobody else (the filters, the
    retrieval's constants, `top_k_checked`); outputs are those of the items graph, retrieval's `heads`, which map its names for
    them to those of the answer, and, of what the features graph gives, what is to be `shown`. External data stays where it is.
    """
    models = (features, retrieval, items)
    graphs = [
        _renamed(features.graph, "features/", {}),
        _renamed(retrieval.graph, "retrieval/", heads),
        _renamed(items.graph, "items/", dict(zip(ITEMS_INPUTS[:3], OUTPUTS, strict=True))),
    ]
    made = {tensor.name for graph in graphs[:2] for tensor in graph.output}
    inputs = {tensor.name: tensor for graph in graphs for tensor in graph.input if tensor.name not in made}
    graph = helper.make_graph(
        [node for part in graphs for node in part.node],
        "session_to_items",
        list(inputs.values()),
        [
            *graphs[2].output,
            *(tensor for tensor in graphs[1].output if tensor.name in heads.values()),
            *(tensor for tensor in graphs[0].output if tensor.name in shown),
        ],
        [tensor for part in graphs for tensor in part.initializer],
        value_info=[value for part in graphs for value in part.value_info],
    )
    opsets = {opset.domain: opset.version for model in models for opset in model.opset_import}
    merged = helper.make_model(
        graph, opset_imports=[helper.make_opsetid(domain, version) for domain, version in opsets.items()]
    )
    merged.ir_version = max(model.ir_version for model in models)
    merged.functions.extend(function for model in models for function in model.functions)
    return merged


def open_graph(folder: Path) -> onnx.ModelProto:
    """`model.onnx` of a step's folder, its external data left on disk."""
    return onnx.load(str(folder / "model.onnx"), load_external_data=False)


def _renamed(graph: onnx.GraphProto, prefix: str, joins: Mapping[str, str]) -> onnx.GraphProto:
    """A copy whose inner names no other graph has. Inputs and outputs keep theirs, or take those that `joins` gives them."""
    kept = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)} | {"": ""} | dict(joins)

    def name(old: str) -> str:
        return kept.get(old, prefix + old)

    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    rename_values(copy, name)
    return copy
