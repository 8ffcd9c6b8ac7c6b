"""Joins the session model's nodes and the scoring to the ranker's graph, and writes it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..runtime.codes import FIRST_ITEM, PADDING
from .ranker import CODES, SCORES, STATUS, Ranker
from .scoring import Asked, Best, Block, Catalogue, all_or_any, finish, scan, split_blocks, statuses
from .scoring_apart import allowed_only, popular
from .scoring_nodes import Constants, Nodes
from .scoring_session import SessionGraph
from .scoring_tables import StoredArrays

_PREFIX = "ranking"


def write_exact(ranker: Ranker, session: SessionGraph, names: Sequence[str], folder: Path) -> None:
    """Write `model.onnx` and, for large tables, npy files beside it.

    names: the inputs, the features and then the codes excluded and allowed, int64 [B, P], and the bias of what is available,
    float32 [V].
    """
    stored, constants = StoredArrays(folder), Constants(_PREFIX)
    catalogue = store_catalogue(ranker, session, stored)
    nodes = Nodes(constants, session.opset)
    best, status = rank(nodes, session.result, item_tensor(ranker, names), names, catalogue)
    outputs = zip((CODES, SCORES, STATUS), (best[1], best[0], status), strict=True)
    nodes.nodes += [helper.make_node("Identity", [inner], [name], name) for name, inner in outputs]
    save_model(session, nodes, constants, stored, names, folder)


def item_tensor(ranker: Ranker, names: Sequence[str]) -> str:
    """The input with the item codes."""
    return names[ranker.names.index(ranker.item_feature)]


def store_catalogue(ranker: Ranker, session: SessionGraph, stored: StoredArrays) -> Catalogue:
    """Store the session's weights, the item table and the popularity."""
    popularity = ranker.log_popularity.numpy()
    table = ranker.table()
    name = None if table is None else session.table or f"{_PREFIX}/table"
    bounds = split_blocks(len(popularity))
    for weight, values in session.weights.items():
        if weight != name:
            stored.add(weight, values)
    blocks = []
    if table is not None and name is not None:
        stored.add(name, table.numpy(), apart=len(bounds) > 1)
        for start, size in bounds:
            rows = name if len(bounds) == 1 else f"{_PREFIX}/rows_{start}"
            if rows != name:
                stored.add_rows(rows, name, start, size)
            blocks.append(Block(start, size, rows))
    stored.add(f"{_PREFIX}/popularity", popularity)
    return Catalogue(name, f"{_PREFIX}/popularity", blocks, len(popularity), ranker.k)


def rank(nodes: Nodes, session: str, items: str, names: Sequence[str], catalogue: Catalogue) -> tuple[Best, str]:
    """Values and codes [B, K], and the status [B, 1]. items: the input with the item codes."""
    excluded, allowed, bias = names[-3:]
    newest = nodes.reduce_max(items, 1, keepdims=True)  # (B, 1)
    asked = Asked(session, newest, excluded, allowed, bias)
    known = nodes.add("GreaterOrEqual", newest, nodes.constant(np.int64(FIRST_ITEM)))
    listed = nodes.reduce_max(allowed, 1, keepdims=True)
    free = nodes.add("Equal", listed, nodes.constant(np.int64(PADDING)))
    all_plain, any_plain = all_or_any(nodes, nodes.add("And", known, free))

    def nothing(branch: Nodes) -> Best:
        sessions = branch.add("Shape", newest, start=0, end=1)
        shape = branch.add("Concat", sessions, branch.int64(catalogue.reach), axis=0)
        return tuple(  # type: ignore[return-value]
            branch.add("Expand", branch.constant(value), shape) for value in (np.float32(-np.inf), np.int64(PADDING))
        )

    def with_others(branch: Nodes) -> Best:
        return _with_others(branch, asked, catalogue, scanned, known, free)

    scanned = _pair(nodes.when(any_plain, lambda branch: scan(branch, asked, catalogue), nothing))
    best = _pair(nodes.when(all_plain, lambda _: scanned, with_others))
    return finish(nodes, best, catalogue), statuses(nodes, newest)


def _with_others(nodes: Nodes, asked: Asked, catalogue: Catalogue, scanned: Best, known: str, free: str) -> Best:
    """What was scanned, but for the cold sessions and those with an allow list."""
    all_known, _ = all_or_any(nodes, known)

    def with_cold(branch: Nodes) -> Best:
        return _chosen(branch, known, scanned, popular(branch, asked, catalogue))

    best = _pair(nodes.when(all_known, lambda _: scanned, with_cold))
    all_free, _ = all_or_any(nodes, free)

    def with_lists(branch: Nodes) -> Best:
        return _chosen(branch, free, best, allowed_only(branch, asked, catalogue, known))

    return _pair(nodes.when(all_free, lambda _: best, with_lists))


def _chosen(nodes: Nodes, flags: str, first: Best, second: Best) -> Best:
    """Each session's answer from the first where its flag, bool [B, 1], is set and from the second where not."""
    return tuple(nodes.add("Where", flags, one, other) for one, other in zip(first, second, strict=True))  # type: ignore[return-value]


def _pair(names: Sequence[str]) -> Best:
    values, codes = names
    return values, codes


def save_model(
    session: SessionGraph,
    nodes: Nodes,
    constants: Constants,
    stored: StoredArrays,
    names: Sequence[str],
    folder: Path,
) -> None:
    """Write the graph of the session's nodes and those behind them."""
    excluded, allowed, bias = names[-3:]
    graph = helper.make_graph(
        [*session.nodes, *nodes.nodes],
        "ranker",
        [
            *session.inputs,
            helper.make_tensor_value_info(excluded, TensorProto.INT64, ["B", f"P_{excluded}"]),
            helper.make_tensor_value_info(allowed, TensorProto.INT64, ["B", f"P_{allowed}"]),
            helper.make_tensor_value_info(bias, TensorProto.FLOAT, ["V"]),
        ],
        [
            helper.make_tensor_value_info(CODES, TensorProto.INT64, ["B", "K"]),
            helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["B", "K"]),
            helper.make_tensor_value_info(STATUS, TensorProto.INT32, ["B", 1]),
        ],
        [*stored.initializers, *constants.initializers],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", session.opset)])
    model.ir_version = session.ir_version
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))
