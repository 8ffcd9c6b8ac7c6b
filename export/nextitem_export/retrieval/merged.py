"""The nodes of an ONNX file as the session model's part of the retrieval step's graph.

They keep what they compute: names are made unique, the opset is brought to one that the graph is written in, inputs are cast to
the types that the file reads, and what its output does not need is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, inliner, numpy_helper, version_converter
from torch import Tensor, nn

from .._errors import UnsupportedModel
from ..model_files.onnx_file import OnnxFile
from ..workflow.graph_builder import DYNAMO_OPSET, IR_VERSION, OPSET
from .model import ByCode
from .module import Retrieval
from .nodes import graphs_in, rename_values
from .session import graph_inputs, trace_nodes
from .session_graph import SessionGraph

_PREFIX = "file"
#: Sets of operators beside ONNX's own that ONNX Runtime has as well.
_OF_ONNX_RUNTIME = ("ai.onnx.ml", "com.microsoft")


class _Read(nn.Module):
    """The part of `ByCode` before the model: the features that it changes, by place."""

    def __init__(self, by_code: ByCode, names: Sequence[str], changed: Sequence[str]) -> None:
        super().__init__()
        self.by_code = by_code
        self.names = names
        self.changed = changed

    def forward(self, *encoded: Tensor) -> tuple[Tensor, ...]:
        features = self.by_code.read(dict(zip(self.names, encoded, strict=True)))
        return tuple(features[name] for name in self.changed)


def merge_session(retrieval: Retrieval, names: Sequence[str], example: tuple[torch.Tensor, ...]) -> SessionGraph:
    """The session model of an ONNX file. example: the features, named `names`.

    Raises UnsupportedModel where its shapes are not the workflow's, or its operators not those of the graph.
    """
    retrieval.scorer.result(dict(zip(retrieval.names, example, strict=True)))  # says what is wrong with its shapes
    model = retrieval.model
    by_code = model if isinstance(model, ByCode) else None
    file = cast("OnnxFile", cast("Any", model if by_code is None else by_code.inner).file)
    whole = prepare(file)
    (opset,) = [entry.version for entry in whole.opset_import if not entry.domain]
    further = _domains(whole.graph) - {""}
    tensors = dict(zip(retrieval.names, names, strict=True))
    nodes, weights = [], {}
    if by_code is not None:
        nodes, weights, changed = _read_by_code(by_code, retrieval, names, example, opset)
        tensors |= changed
    own, own_weights, result = _merged(whole.graph, file, tensors)
    nodes, weights = [*nodes, *own], {**weights, **own_weights}
    if by_code is not None and retrieval.table() is None:
        rows, by_row = f"{_PREFIX}/rows", f"{_PREFIX}/by_code"
        weights[rows] = by_code.rows.numpy()
        nodes.append(helper.make_node("Gather", [result, rows], [by_row], by_row, axis=1))
        result = by_row
    return SessionGraph(
        inputs=graph_inputs(names, example),
        nodes=nodes,
        weights=weights,
        result=result,
        heads=(),
        table=None,
        opset=opset,
        ir_version=IR_VERSION,
        domains={entry.domain: entry.version for entry in whole.opset_import if entry.domain in further},
    )


def prepare(file: OnnxFile) -> onnx.ModelProto:
    """The file's model without functions of its own, in an opset that our graphs are written in. Raises UnsupportedModel."""
    model = file.read()
    if model.functions:
        model = inliner.inline_local_functions(model)
    for entry in model.opset_import:
        entry.domain = "" if entry.domain == "ai.onnx" else entry.domain
    foreign = sorted(_domains(model.graph) - {"", "ai.onnx", *_OF_ONNX_RUNTIME})
    if foreign:
        known = " and ".join(_OF_ONNX_RUNTIME)
        raise UnsupportedModel(
            f"{file.name} has operators of {', '.join(foreign)}, and a server has those of ONNX, {known}: export "
            "the model with these"
        )
    version = next((entry.version for entry in model.opset_import if not entry.domain), OPSET)
    if version in (OPSET, DYNAMO_OPSET):
        return model
    due = OPSET if version < OPSET else DYNAMO_OPSET
    try:
        return version_converter.convert_version(model, due)
    except Exception as error:
        raise UnsupportedModel(
            f"{file.name} is written in opset {version}, and onnx.version_converter cannot bring it to {due}: "
            f"{type(error).__name__}: {error}. Export the model with opset {OPSET} or {DYNAMO_OPSET}"
        ) from error


def _read_by_code(
    by_code: ByCode,
    retrieval: Retrieval,
    names: Sequence[str],
    example: tuple[torch.Tensor, ...],
    opset: int,
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray], dict[str, str]]:
    """Nodes and weights that make values of codes, and the tensors of the features that they change."""
    changed = retrieval.names if by_code.known_alone else (by_code.item_feature,)
    results = {name: f"read/{place}" for place, name in enumerate(changed)}
    read = _Read(by_code, retrieval.names, changed).eval()
    traced, weights = trace_nodes(read, names, [*results.values()], example, opset)
    return list(traced.graph.node), weights, results


def _merged(
    graph: onnx.GraphProto, file: OnnxFile, tensors: Mapping[str, str]
) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray], str]:
    """The file's nodes behind these tensors, by feature, its weights, and the name of what it gives, float32."""
    rename_values(graph, lambda name: f"{_PREFIX}/{name}" if name else "")
    casts = [
        helper.make_node(
            "Cast",
            [tensors[each.feature]],
            [f"{_PREFIX}/{each.name}"],
            f"{_PREFIX}/{each.name}/cast",
            to=helper.np_dtype_to_tensor_dtype(np.dtype(each.dtype)),
        )
        for each in file.inputs
    ]
    result = f"{_PREFIX}/{file.output}"
    needed, read = _needed(graph.node, result)
    weights = {t.name: numpy_helper.to_array(t) for t in graph.initializer if t.name in read}
    (kind,) = (value.type.tensor_type.elem_type for value in graph.output if value.name == result)
    if kind != TensorProto.FLOAT:
        needed.append(helper.make_node("Cast", [result], [f"{result}/cast"], f"{result}/cast", to=TensorProto.FLOAT))
        result = f"{result}/cast"
    return [*casts, *needed], weights, result


def _needed(nodes: Sequence[onnx.NodeProto], result: str) -> tuple[list[onnx.NodeProto], set[str]]:
    """The nodes that a tensor comes from, in their order, and all that they read."""
    read, kept = {result}, []
    for node in reversed(nodes):
        if read.intersection(node.output):
            kept.append(node)
            read |= {name for each in _with_inner(node) for name in each.input}
            # A branch may give what stands outside of it, as it is.
            read |= {value.name for each in _with_inner(node) for graph in graphs_in(each) for value in graph.output}
    return kept[::-1], read


def _with_inner(node: onnx.NodeProto) -> Iterator[onnx.NodeProto]:
    yield node
    for graph in graphs_in(node):
        for inner in graph.node:
            yield from _with_inner(inner)


def _domains(graph: onnx.GraphProto) -> set[str]:
    return {each.domain for node in graph.node for each in _with_inner(node)}
