"""The session model as ONNX nodes: from the features to the query or, for a model without one, to the scores, and its heads.

The graph holds one item table for both ends of the model: what embeds the items that were seen, and what the query is compared
with. Where both are one weight (tied weights) it does so anyway. Where the model compares with normalised embeddings, the rows
of both tables have the same directions, and one of them with a length a row makes the other. Where each item has a bias, the
table that queries are compared with has it in a column of its own, behind those that are embedded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, cast

import numpy as np
import onnx
import torch
from onnx import helper, numpy_helper
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from torch import nn

from ..workflow.graph_builder import DYNAMO_OPSET, OPSET
from .heads import head_tensors
from .module import Retrieval

_TABLE, _LENGTHS, _AXES = "shared/table", "shared/lengths", "shared/last_axis"
_START, _END = "shared/first_column", "shared/embedded_columns"
#: Of a float32's precision: a row and its direction times its length differ by rounding alone.
_RELATIVE = 1e-6


@dataclasses.dataclass(frozen=True)
class SessionGraph:
    """What an exporter made of a session model.

    inputs: the features, each [B, T]. result: the tensor with the query float32 [B, D] or the scores float32 [B, V]. heads:
    the tensors of the further heads, float32 [B, N] each. weights: by name. table: the name of the weight that is the item
    table as well, None where there is none. domains: further sets of operators that nodes are of, with their versions.
    """

    inputs: list[onnx.ValueInfoProto]
    nodes: list[onnx.NodeProto]
    weights: dict[str, np.ndarray]
    result: str
    heads: tuple[str, ...]
    table: str | None
    opset: int
    ir_version: int
    domains: Mapping[str, int] = dataclasses.field(default_factory=dict)

    @property
    def opset_imports(self) -> list[onnx.OperatorSetIdProto]:
        """Of a graph with these nodes."""
        return [helper.make_opsetid(domain, version) for domain, version in {"": self.opset, **self.domains}.items()]


class _Session(nn.Module):
    def __init__(self, retrieval: Retrieval) -> None:
        super().__init__()
        self.scorer = retrieval.scorer
        self.names = retrieval.names

    def forward(self, *encoded: torch.Tensor) -> tuple[torch.Tensor, ...]:
        result, heads = self.scorer.result(dict(zip(self.names, encoded, strict=True)))
        return result.float(), *heads


def _results(retrieval: Retrieval) -> list[str]:
    """The names of what `_Session` gives."""
    return ["session", *(f"session_{tensor}" for tensor in head_tensors(retrieval.heads))]


def trace_session(retrieval: Retrieval, names: Sequence[str], example: tuple[torch.Tensor, ...]) -> SessionGraph:
    """By torch's older exporter. example: the features, named `names`."""
    model, weights = trace_nodes(_Session(retrieval).eval(), names, _results(retrieval), example)
    return _graph(model, names, example, weights, retrieval)


def trace_nodes(
    module: nn.Module,
    names: Sequence[str],
    results: Sequence[str],
    example: tuple[torch.Tensor, ...],
    opset: int = OPSET,
) -> tuple[onnx.ModelProto, dict[str, np.ndarray]]:
    """A module in eval mode by torch's older exporter, and its weights by name. results: the names of what it gives."""
    # It takes TorchScript only where the whole module is, and calls its weights by other names then.
    script = any(isinstance(part, torch.jit.ScriptModule) for part in module.modules())
    with TemporaryDirectory() as folder:
        path = str(Path(folder) / "session.onnx")
        torch.onnx.export(
            cast("Any", torch.jit.trace(module, example, check_trace=False)) if script else module,
            example,
            path,
            input_names=list(names),
            output_names=list(results),
            dynamic_axes={name: {0: "B"} for name in (*names, *results)},
            opset_version=opset,
            do_constant_folding=False,
            export_params=script,  # else they stay out of the protobuf, which ends at 2 GB, and are named instead
            dynamo=False,
        )
        model = onnx.load(path)
    weights = {t.name: numpy_helper.to_array(t) for t in model.graph.initializer}
    tensors = dict(module.state_dict(keep_vars=True))
    for value in model.graph.input:
        if value.name not in names:
            weights[value.name] = tensors[value.name].detach().numpy()
    return model, weights


def trace_session_dynamo(retrieval: Retrieval, names: Sequence[str], example: tuple[torch.Tensor, ...]) -> SessionGraph:
    """The second route, by torch.export: slower, and stricter about what a model's forward does."""
    axes: list[dict[int, Any]] = [{0: torch.export.Dim.DYNAMIC} for _ in names]
    program = torch.onnx.export(
        _Session(retrieval).eval(),
        example,
        input_names=list(names),
        output_names=_results(retrieval),
        dynamic_shapes=(tuple(axes),),
        opset_version=DYNAMO_OPSET,
        dynamo=True,
        verbose=False,
    )
    assert program is not None
    # Stack traces, with the paths of this machine: a third of the file.
    ClearMetadataAndDocStringPass()(program.model)
    weights = {
        name: np.array(value.const_value.numpy())
        for name, value in program.model.graph.initializers.items()
        if value.const_value is not None
    }
    with TemporaryDirectory() as folder:
        path = Path(folder) / "session.onnx"
        program.save(str(path), external_data=True)
        model = onnx.load(str(path), load_external_data=False)
    return _graph(model, names, example, weights, retrieval)


def _graph(
    model: onnx.ModelProto,
    names: Sequence[str],
    example: tuple[torch.Tensor, ...],
    weights: dict[str, np.ndarray],
    retrieval: Retrieval,
) -> SessionGraph:
    (opset,) = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    session = SessionGraph(
        inputs=graph_inputs(names, example),
        nodes=list(model.graph.node),
        weights=weights,
        result=model.graph.output[0].name,
        heads=tuple(output.name for output in model.graph.output[1:]),
        table=None,
        opset=opset,
        ir_version=model.ir_version,
    )
    return with_table(session, retrieval)


def with_table(session: SessionGraph, retrieval: Retrieval) -> SessionGraph:
    """The graph with its item table named, and held once, where the model has one."""
    table = retrieval.table()
    if table is None:
        return session
    session = dataclasses.replace(session, table=_table_among(session.weights, table.numpy()))
    return share_table(session, table.numpy())


def graph_inputs(names: Sequence[str], example: tuple[torch.Tensor, ...]) -> list[onnx.ValueInfoProto]:
    """The features [B, T] as a graph's inputs. Not as an exporter declares them: it leaves out what the model does not read."""
    return [_input(name, values) for name, values in zip(names, example, strict=True)]


def _table_among(weights: Mapping[str, np.ndarray], table: np.ndarray) -> str | None:
    same = (
        name
        for name, values in weights.items()
        if values.shape == table.shape and values.dtype == np.float32 and np.array_equal(values, table)
    )
    return next(same, None)


def _input(name: str, example: torch.Tensor) -> onnx.ValueInfoProto:
    kind = helper.np_dtype_to_tensor_dtype(example.numpy().dtype)
    return helper.make_tensor_value_info(name, kind, ["B", *example.shape[1:]])


def share_table(session: SessionGraph, table: np.ndarray) -> SessionGraph:
    """The same session graph, embedding by `table` [V, D] what it embedded by a weight with rows of the same directions.

    The weight may be narrower: then the table's first columns count. The graph stays as it is where it holds the table already,
    or no such weight that is only looked up.
    """
    if session.table is not None:
        return session
    for name, weight in session.weights.items():
        lengths = _lengths(weight, table)
        if lengths is not None and _is_looked_up(session, name):
            return _shared(session, name, table, lengths)
    return session


def _lengths(weight: np.ndarray, table: np.ndarray) -> np.ndarray | None:
    """float32 [V], how many times as long the weight's rows are as the table's; None where they are no multiples of them."""
    if weight.dtype != np.float32 or weight.ndim != 2 or len(weight) != len(table) or weight.shape[1] > table.shape[1]:
        return None
    table = table[:, : weight.shape[1]]
    squares = np.einsum("vd,vd->v", table, table, dtype=np.float64)
    products = np.einsum("vd,vd->v", weight, table, dtype=np.float64)
    lengths = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0).astype(np.float32)
    bound = _RELATIVE * max(float(np.abs(weight).max(initial=0)), np.finfo(np.float32).tiny)
    return lengths if float(np.abs(table * lengths[:, None] - weight).max(initial=0)) <= bound else None


def _is_looked_up(session: SessionGraph, name: str) -> bool:
    """Whether nodes take rows of the weight, and do nothing else with it."""
    readers = [node for node in session.nodes if name in node.input]
    inner = any(
        name in each.input
        for node in session.nodes
        for a in node.attribute
        for g in (a.g, *a.graphs)
        for each in g.node
    )
    by_row = all(
        node.op_type == "Gather" and node.input[0] == name and not any(a.name == "axis" and a.i for a in node.attribute)
        for node in readers
    )
    return bool(readers) and by_row and not inner


def _shared(session: SessionGraph, name: str, table: np.ndarray, lengths: np.ndarray) -> SessionGraph:
    nodes, width = [], session.weights[name].shape[1]
    for node in session.nodes:
        if name not in node.input:
            nodes.append(node)
            continue
        whole, rows, scale, column = (
            f"{node.output[0]}/{part}" for part in ("rows", "directions", "lengths", "column")
        )
        gathered = rows if width == table.shape[1] else whole
        nodes.append(helper.make_node("Gather", [_TABLE, node.input[1]], [gathered], gathered))
        if gathered == whole:
            nodes.append(helper.make_node("Slice", [whole, _START, _END, _AXES], [rows], rows))
        nodes += [
            helper.make_node("Gather", [_LENGTHS, node.input[1]], [scale], scale),
            helper.make_node("Unsqueeze", [scale, _AXES], [column], column),
            helper.make_node("Mul", [rows, column], [node.output[0]], node.name),
        ]
    weights = {other: values for other, values in session.weights.items() if other != name}
    weights |= {_TABLE: table, _LENGTHS: lengths, _AXES: np.array([-1])}
    if width < table.shape[1]:  # what no node reads ONNX Runtime warns of at each load
        weights |= {_START: np.array([0]), _END: np.array([width])}
    return dataclasses.replace(session, nodes=nodes, weights=weights, table=_TABLE)
