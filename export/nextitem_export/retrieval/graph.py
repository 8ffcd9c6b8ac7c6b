"""Joins the session model's nodes and the scoring to the retrieval step's graph, and writes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from nextitem_bundle.runtime.features import TOP_K
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, PADDING
from nextitem_bundle.runtime.steps import FirstLook, OnnxGraph, Ranking
from nextitem_bundle.runtime.steps import Retrieval as Settings

from . import blocks
from .blocks import Block, Blocks, Groups, Proven
from .int8 import WIDEST, QuantizedTable, main_axes, quantize_table, scored_to_prove
from .nodes import Constants, Nodes, StoredArrays
from .scan import Asked, Best, Catalogue, Scan, all_or_any, allowed_only, finish, popular, scan_at_once, statuses
from .session_graph import SessionGraph
from .tensors import CODES, SCORES, STATUS, RankedItems, add_heads

_PREFIX = "ranking"


#: What the names of the scan's own inputs add to that of the bias.
LIMITED, PENALTY = "_limited", "_penalty"
#: The groups that may be scored exactly behind a first look, from few to many.
_GROUPS = (Groups(2, 28), Groups(3, 28), Groups(5, 28))
#: The share of the sample's sessions whose first look has to be a proof where so many items are asked for.
_PROVEN, _ASKED_FOR = 0.95, 20


def write_exact(
    ranked: RankedItems, session: SessionGraph, names: Sequence[str], folder: Path, queries: np.ndarray | None
) -> Settings:
    """Write `model.onnx` and, for large tables, npy files beside it.

    names: the inputs, the features and then the codes excluded and allowed, int64 [B, P], and the bias of what is available,
    float32 [rows]. queries: those of some sessions, float32 [S, D], which show what a first look in int8 can prove; None for
    a model without them. Returns what step.json says of the graph.
    """
    table = ranked.table
    items = len(ranked)
    if table is not None and queries is not None and items >= blocks.BLOCKS_FROM and table.shape[1] <= WIDEST:
        quantized = quantize_table(table)
        k = min(_ASKED_FOR, ranked.k, items)
        scored = scored_to_prove(table, quantized, queries, k)
        for groups in _GROUPS:
            if len(scored) and (scored <= groups.at(k)).mean() >= _PROVEN:
                return _write_first_look(ranked, session, names, folder, quantized, groups, proving=True)
    stored = StoredArrays(folder)
    if table is None or items < blocks.BLOCKS_FROM:
        catalogue = store_catalogue(ranked, session, stored, items, apart=False)
        return _write(ranked, session, names, folder, stored, catalogue, scan_at_once)
    catalogue = store_catalogue(ranked, session, stored, blocks.padded_items(items), apart=True)
    width = table.shape[1]
    scan = _exact_blocks(stored, catalogue, width, _grouped(stored, catalogue, width))
    return _write(ranked, session, names, folder, stored, catalogue, scan)


def write_int8(
    ranked: RankedItems, session: SessionGraph, names: Sequence[str], folder: Path, groups: Groups, width: int
) -> Settings:
    """The same by a first look in int8 that is taken as it is.

    width: the columns that are looked at; where it is below the table's, products along its main axes.
    """
    table = ranked.table
    assert table is not None
    axes = main_axes(table, width) if width < table.shape[1] else None
    quantized = quantize_table(table if axes is None else table @ axes)
    settings = _write_first_look(ranked, session, names, folder, quantized, groups, axes=axes)
    return dataclasses.replace(settings, scoring="int8-rerank", first_look=FirstLook(width, groups.more))


def _write_first_look(
    ranked: RankedItems,
    session: SessionGraph,
    names: Sequence[str],
    folder: Path,
    quantized: QuantizedTable,
    groups: Groups,
    *,
    proving: bool = False,
    axes: np.ndarray | None = None,
) -> Settings:
    items, looked_at = quantized.values.shape
    width = looked_at if axes is None else len(axes)
    penalty, name = names[-1] + PENALTY, f"{_PREFIX}/int8"
    stored = StoredArrays(folder)
    catalogue = store_catalogue(ranked, session, stored, blocks.padded_items(items), apart=True)
    values = _padded(quantized.values, catalogue.items)
    bounds = blocks.block_bounds(catalogue.items)
    parts = [values[start : start + size].T.ravel() for start, size in bounds]
    stored.add(name, np.concatenate(parts), apart=True, unused=True)
    cut = [Block(start, size, f"{name}_{start}") for start, size in bounds]
    for block in cut:
        stored.add_view(block.rows, name, block.start * looked_at, (looked_at, block.size))
    look = Blocks(cut, _grouped(stored, catalogue, width), width, groups, penalty, axes)
    scan: Scan = look
    if proving:
        scan = Proven(look, quantized, _exact_blocks(stored, catalogue, width, look.grouped_table))
    return _write(ranked, session, names, folder, stored, catalogue, scan, penalty)


def _exact_blocks(stored: StoredArrays, catalogue: Catalogue, width: int, grouped: str) -> Blocks:
    assert catalogue.table is not None
    cut = [Block(start, size, f"{_PREFIX}/rows_{start}") for start, size in blocks.block_bounds(catalogue.items)]
    for block in cut:
        stored.add_view(block.rows, catalogue.table, block.start * width, (block.size, width))
    return Blocks(cut, grouped, width)


def _grouped(stored: StoredArrays, catalogue: Catalogue, width: int) -> str:
    """The name of the stored table by groups."""
    assert catalogue.table is not None
    name = f"{_PREFIX}/groups"
    stored.add_view(name, catalogue.table, 0, (catalogue.items // blocks.GROUP, blocks.GROUP * width))
    return name


def _write(
    ranked: RankedItems,
    session: SessionGraph,
    names: Sequence[str],
    folder: Path,
    stored: StoredArrays,
    catalogue: Catalogue,
    scan: Scan,
    penalty: str | None = None,
) -> Settings:
    """Write the graph. Returns what step.json says of it: the rows of the table, and the forms of the graph's constants."""
    constants = Constants(_PREFIX)
    nodes = Nodes(constants, session.opset)
    excluded, allowed, bias = names[len(session.inputs) :]
    limited = bias + LIMITED
    filters = Filters(excluded, allowed, bias, limited)
    items = item_tensor(ranked, names)
    best, status = rank(nodes, session.result, items, filters, catalogue, scan)
    outputs = zip((CODES, SCORES, STATUS), (best[1], best[0], status), strict=True)
    nodes.nodes += [helper.make_node("Identity", [inner], [name], name) for name, inner in outputs]
    heads = add_heads(nodes, ranked.heads, session.heads, nodes.reduce_max(items, 1, keepdims=True))
    _save(session, nodes, constants, stored, filters, penalty, heads, folder)
    forms = {bias: "bias", limited: "limited", TOP_K: "most"} | ({penalty: "penalty"} if penalty else {})
    return Settings(OnnxGraph(), Ranking(forms, catalogue.items, ranked.k))


def item_tensor(ranked: RankedItems, names: Sequence[str]) -> str:
    """The input with the item codes."""
    return names[ranked.features.index(ranked.item_feature)]


def store_catalogue(
    ranked: RankedItems, session: SessionGraph, stored: StoredArrays, rows: int, *, apart: bool
) -> Catalogue:
    """Store the session's weights, the item table and the popularity, filled up to so many rows with items that never come.

    apart: the table is a file whatever its size, of which views are read.
    """
    table = ranked.table
    name = None if table is None else session.table or f"{_PREFIX}/table"
    for weight, values in session.weights.items():
        if weight != name:
            stored.add(weight, values)
    popularity = ranked.log_popularity
    if table is not None and name is not None:
        stored.add(name, _padded(table, rows), apart=apart)
    stored.add(f"{_PREFIX}/popularity", _padded(popularity, rows))
    return Catalogue(name, f"{_PREFIX}/popularity", rows, rows - len(popularity), ranked.k)


def _padded(values: np.ndarray, rows: int) -> np.ndarray:
    """With rows of 0 at the end."""
    missing = rows - len(values)
    return np.concatenate([values, np.zeros((missing, *values.shape[1:]), values.dtype)]) if missing else values


@dataclasses.dataclass(frozen=True)
class Filters:
    """The names of the graph's inputs beside the features and the wanted number of items: see `Asked`."""

    excluded: str
    allowed: str
    bias: str
    limited: str


def rank(
    nodes: Nodes, session: str, items: str, filters: Filters, catalogue: Catalogue, scan: Scan
) -> tuple[Best, str]:
    """Values and codes [B, K], and the status [B, 1]. items: the input with the item codes."""
    newest = nodes.reduce_max(items, 1, keepdims=True)  # (B, 1)
    known = nodes.add("GreaterOrEqual", newest, nodes.constant(np.int64(FIRST_ITEM)))
    listed = nodes.reduce_max(filters.allowed, 1, keepdims=True)
    free = nodes.add("Equal", listed, nodes.constant(np.int64(PADDING)))
    plain = nodes.add("And", known, free)
    reach = nodes.add("Min", TOP_K, nodes.int64(catalogue.items)) if catalogue.limit > catalogue.items else TOP_K
    asked = Asked(session, newest, plain, **dataclasses.asdict(filters), k=TOP_K, reach=reach)
    all_plain, any_plain = all_or_any(nodes, plain)

    def nothing(branch: Nodes) -> Best:
        shape = branch.add("Concat", branch.add("Shape", newest, start=0, end=1), reach, axis=0)
        return tuple(  # type: ignore[return-value]
            branch.add("Expand", branch.constant(value), shape) for value in (np.float32(-np.inf), np.int64(PADDING))
        )

    def with_others(branch: Nodes) -> Best:
        return _with_others(branch, asked, catalogue, scanned, known, free)

    scanned = _pair(nodes.when(any_plain, lambda branch: scan(branch, asked, catalogue), nothing))
    best = _pair(nodes.when(all_plain, lambda _: scanned, with_others))
    return finish(nodes, best, asked, catalogue), statuses(nodes, newest)


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


def _save(
    session: SessionGraph,
    nodes: Nodes,
    constants: Constants,
    stored: StoredArrays,
    filters: Filters,
    penalty: str | None,
    heads: Sequence[onnx.ValueInfoProto],
    folder: Path,
) -> None:
    """Write the graph of the session's nodes and those behind them."""
    tensor = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*session.nodes, *nodes.nodes],
        "retrieval",
        [
            *session.inputs,
            tensor(filters.excluded, TensorProto.INT64, ["B", f"P_{filters.excluded}"]),
            tensor(filters.allowed, TensorProto.INT64, ["B", f"P_{filters.allowed}"]),
            tensor(filters.bias, TensorProto.FLOAT, ["V"]),
            tensor(filters.limited, TensorProto.BOOL, [1]),
            tensor(TOP_K, TensorProto.INT64, [1]),
            *([tensor(penalty, TensorProto.INT32, ["V"])] if penalty else []),
        ],
        [
            tensor(CODES, TensorProto.INT64, ["B", "K"]),
            tensor(SCORES, TensorProto.FLOAT, ["B", "K"]),
            tensor(STATUS, TensorProto.INT32, ["B", 1]),
            *heads,
        ],
        [*stored.initializers, *constants.initializers],
    )
    model = helper.make_model(graph, opset_imports=session.opset_imports)
    model.ir_version = session.ir_version
    path = folder / "model.onnx"
    onnx.save(model, str(path))
    onnx.checker.check_model(str(path))
