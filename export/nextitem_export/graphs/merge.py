"""Features, retrieval and items as one ONNX graph: what one of them gives and the next one takes becomes a tensor inside."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnx
from onnx import helper

from ..retrieval.module import OUTPUTS
from .items import INPUTS as ITEMS_INPUTS


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
    _rename(copy, name)
    return copy


def _rename(graph: onnx.GraphProto, name: Callable[[str], str]) -> None:
    """Rename all values of a graph and of the graphs within it (the branches of an If), which see those around them."""
    for value in (*graph.input, *graph.output, *graph.value_info, *graph.initializer):
        value.name = name(value.name)
    for node in graph.node:
        node.name = name(node.name)
        node.input[:] = [name(each) for each in node.input]
        node.output[:] = [name(each) for each in node.output]
        for attribute in node.attribute:
            for inner in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _rename(inner, name)
