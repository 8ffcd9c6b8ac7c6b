"""The session model as ONNX nodes, from the features to the query or the scores, and the one item table that both ends share.

The graph holds one item table for both ends of the model: what embeds the items that were seen, and what the query is compared
with. Where both are one weight (tied weights) it does so anyway. Where the model compares with normalised embeddings, the rows
of both tables have the same directions, and one of them with a length a row makes the other. Where each item has a bias, the
table that queries are compared with has it in a column of its own, behind those that are embedded.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import onnx
from onnx import helper

_TABLE, _LENGTHS, _AXES = "shared/table", "shared/lengths", "shared/last_axis"
_START, _END = "shared/first_column", "shared/embedded_columns"
#: Of a float32's precision: a row and its direction times its length differ by rounding alone.
_RELATIVE = 1e-6
#: Rows of a table that are compared at once.
_ROWS = 65_536


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


def with_table(session: SessionGraph, table: np.ndarray | None) -> SessionGraph:
    """The graph with its item table float32 [V, D] named, and held once, where the model has one."""
    if table is None:
        return session
    return share_table(dataclasses.replace(session, table=_table_among(session.weights, table)), table)


def _table_among(weights: Mapping[str, np.ndarray], table: np.ndarray) -> str | None:
    same = (
        name
        for name, values in weights.items()
        if values.shape == table.shape and values.dtype == np.float32 and np.array_equal(values, table)
    )
    return next(same, None)


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
    lengths = np.zeros(len(table), dtype=np.float32)
    largest = error = 0.0
    for start in range(0, len(table), _ROWS):
        given, own = weight[start : start + _ROWS], table[start : start + _ROWS]
        squares = np.einsum("vd,vd->v", own, own, dtype=np.float64)
        products = np.einsum("vd,vd->v", given, own, dtype=np.float64)
        found = np.divide(products, squares, out=np.zeros_like(products), where=squares > 0).astype(np.float32)
        lengths[start : start + _ROWS] = found
        largest = max(largest, float(np.abs(given).max()))
        error = max(error, float(np.abs(own * found[:, None] - given).max()))
    return lengths if error <= _RELATIVE * max(largest, float(np.finfo(np.float32).tiny)) else None


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
