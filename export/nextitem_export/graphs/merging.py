"""The three steps' graphs as one: what one of them gives and the next one takes becomes a tensor inside."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper

from nextitem_bundle.runtime.steps import STEP

from ..retrieval.nodes import rename_values
from ..retrieval.tensors import OUTPUTS
from .id_decoder import INPUTS as ITEMS_INPUTS

GRAPH = "model.onnx"


def write_merged(folders: Sequence[Path], folder: Path, heads: Mapping[str, str], item_tensor: str) -> bool:
    """Write the merged graph of three steps, with what the retrieval step's needs beside it.

    folders: of features, retrieval and items. heads: see `merge`. item_tensor: of encoded items, which stays an output.

    Returns False, and writes nothing, where a step is no ONNX graph or the graphs cannot be merged.
    """
    if not all((part / GRAPH).is_file() for part in folders):
        return False
    features, retrieval, items = graphs = [open_graph(part) for part in folders]
    if not can_merge(graphs):
        return False
    onnx.save(merge(features, retrieval, items, heads, [item_tensor]), str(folder / GRAPH))
    for file in folders[1].iterdir():  # large tables, the item index
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
    return onnx.load(str(folder / GRAPH), load_external_data=False)


def _renamed(graph: onnx.GraphProto, prefix: str, joins: Mapping[str, str]) -> onnx.GraphProto:
    """A copy whose inner names no other graph has. Inputs and outputs keep theirs, or take those that `joins` gives them."""
    kept = {tensor.name: tensor.name for tensor in (*graph.input, *graph.output)} | {"": ""} | dict(joins)

    def name(old: str) -> str:
        return kept.get(old, prefix + old)

    copy = onnx.GraphProto()
    copy.CopyFrom(graph)
    rename_values(copy, name)
    return copy
