"""Joins the session model's nodes and the scoring to the ranker's graph, and writes it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from ..runtime.codes import FIRST_ITEM, PADDING
from . import scoring_blocks
from .ranker import CODES, SCORES, STATUS, Ranker
from .scoring import Asked, Best, Catalogue, Scan, all_or_any, finish, scan_at_once, statuses
from .scoring_apart import allowed_only, popular
from .scoring_blocks import Block, Blocks, block_bounds, groups_for, padded_items, quantized_table
from .scoring_nodes import Constants, Nodes
from .scoring_session import SessionGraph
from .scoring_tables import StoredArrays

_PREFIX = "ranking"


#: What the names of the scan's own inputs add to that of the bias.
LIMITED, PENALTY = "_limited", "_penalty"

#: Groups of items that are scored exactly behind the int8 scan, at first; doubled until recall is as high as asked.
INT8_GROUPS = 128


def write_exact(ranker: Ranker, session: SessionGraph, names: Sequence[str], folder: Path) -> dict[str, Any]:
    """Write `model.onnx` and, for large tables, npy files beside it.

    names: the inputs, the features and then the codes excluded and allowed, int64 [B, P], and the bias of what is available,
    float32 [rows]. Returns what step.json says of the graph.
    """
    items = len(ranker.log_popularity)
    if ranker.table() is None or items < scoring_blocks.BLOCKS_FROM:
        stored = StoredArrays(folder)
        _write(
            ranker,
            session,
            names,
            folder,
            stored,
            store_catalogue(ranker, session, stored, items, apart=False),
            scan_at_once,
        )
        return {"rows": items, "constants": {names[-1]: "bias"}}
    stored = StoredArrays(folder)
    catalogue = store_catalogue(ranker, session, stored, padded_items(items), apart=True)
    blocks = []
    width = session_width(ranker)
    assert catalogue.table is not None
    for start, size in block_bounds(catalogue.items):
        blocks.append(Block(start, size, f"{_PREFIX}/rows_{start}"))
        stored.add_view(blocks[-1].rows, catalogue.table, start * width, (size, width))
    limited = names[-1] + LIMITED
    scan = Blocks(blocks, _grouped(stored, catalogue, width), width, groups_for(ranker.k, catalogue.items), limited)
    names = [*names, limited]
    _write(ranker, session, names, folder, stored, catalogue, scan)
    return {"rows": catalogue.items, "constants": {names[-2]: "bias", limited: "limited"}}


def write_int8(
    ranker: Ranker, session: SessionGraph, names: Sequence[str], folder: Path, groups: int
) -> dict[str, Any]:
    """The same with a first pass over an int8 copy of the table; `groups` of GROUP items each are scored exactly."""
    stored = StoredArrays(folder)
    catalogue = store_catalogue(ranker, session, stored, padded_items(len(ranker.log_popularity)), apart=True)
    width = session_width(ranker)
    assert catalogue.table is not None
    quantized = quantized_table(_padded(ranker.table().numpy(), catalogue.items))
    bounds = block_bounds(catalogue.items)
    flat = np.concatenate([quantized[start : start + size].T.ravel() for start, size in bounds])
    stored.add(f"{_PREFIX}/int8", flat, apart=True, unused=True)
    blocks = []
    for start, size in bounds:
        blocks.append(Block(start, size, f"{_PREFIX}/int8_{start}"))
        stored.add_view(blocks[-1].rows, f"{_PREFIX}/int8", start * width, (width, size))
    limited, penalty = names[-1] + LIMITED, names[-1] + PENALTY
    scan = Blocks(
        blocks,
        _grouped(stored, catalogue, width),
        width,
        groups_for(groups, catalogue.items),
        limited,
        penalty,
    )
    names = [*names, limited, penalty]
    _write(ranker, session, names, folder, stored, catalogue, scan)
    return {"rows": catalogue.items, "constants": {names[-3]: "bias", limited: "limited", penalty: "penalty"}}


def session_width(ranker: Ranker) -> int:
    """D."""
    table = ranker.table()
    assert table is not None
    return table.shape[1]


def _grouped(stored: StoredArrays, catalogue: Catalogue, width: int) -> str:
    assert catalogue.table is not None
    name = f"{_PREFIX}/groups"
    stored.add_view(name, catalogue.table, 0, (catalogue.items // scoring_blocks.GROUP, scoring_blocks.GROUP * width))
    return name


def _write(
    ranker: Ranker,
    session: SessionGraph,
    names: Sequence[str],
    folder: Path,
    stored: StoredArrays,
    catalogue: Catalogue,
    scan: Scan,
) -> None:
    constants = Constants(_PREFIX)
    nodes = Nodes(constants, session.opset)
    filters = names[len(session.inputs) :]
    best, status = rank(nodes, session.result, item_tensor(ranker, names), filters, catalogue, scan)
    outputs = zip((CODES, SCORES, STATUS), (best[1], best[0], status), strict=True)
    nodes.nodes += [helper.make_node("Identity", [inner], [name], name) for name, inner in outputs]
    save_model(session, nodes, constants, stored, filters, folder)


def item_tensor(ranker: Ranker, names: Sequence[str]) -> str:
    """The input with the item codes."""
    return names[ranker.names.index(ranker.item_feature)]


def store_catalogue(
    ranker: Ranker, session: SessionGraph, stored: StoredArrays, rows: int, *, apart: bool
) -> Catalogue:
    """Store the session's weights, the item table and the popularity, filled up to so many rows with items that never come.

    apart: the table is a file whatever its size, of which views are read.
    """
    table = ranker.table()
    name = None if table is None else session.table or f"{_PREFIX}/table"
    for weight, values in session.weights.items():
        if weight != name:
            stored.add(weight, values)
    popularity = ranker.log_popularity.numpy()
    if table is not None and name is not None:
        stored.add(name, _padded(table.numpy(), rows), apart=apart)
    stored.add(f"{_PREFIX}/popularity", _padded(popularity, rows))
    return Catalogue(name, f"{_PREFIX}/popularity", rows, ranker.k)


def _padded(values: np.ndarray, rows: int) -> np.ndarray:
    """With rows of 0 at the end."""
    missing = rows - len(values)
    return np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)]) if missing else values


def rank(
    nodes: Nodes, session: str, items: str, filters: Sequence[str], catalogue: Catalogue, scan: Scan
) -> tuple[Best, str]:
    """Values and codes [B, K], and the status [B, 1]. items: the input with the item codes."""
    excluded, allowed, bias = filters[:3]
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


_SCAN_INPUTS: dict[str, Callable[[str], onnx.ValueInfoProto]] = {
    LIMITED: lambda name: helper.make_tensor_value_info(name, TensorProto.BOOL, [1]),
    PENALTY: lambda name: helper.make_tensor_value_info(name, TensorProto.INT32, ["V"]),
}


def save_model(
    session: SessionGraph,
    nodes: Nodes,
    constants: Constants,
    stored: StoredArrays,
    filters: Sequence[str],
    folder: Path,
) -> None:
    """Write the graph of the session's nodes and those behind them."""
    excluded, allowed, bias, *more = filters
    graph = helper.make_graph(
        [*session.nodes, *nodes.nodes],
        "ranker",
        [
            *session.inputs,
            helper.make_tensor_value_info(excluded, TensorProto.INT64, ["B", f"P_{excluded}"]),
            helper.make_tensor_value_info(allowed, TensorProto.INT64, ["B", f"P_{allowed}"]),
            helper.make_tensor_value_info(bias, TensorProto.FLOAT, ["V"]),
            *(_SCAN_INPUTS[name.removeprefix(bias)](name) for name in more),
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
