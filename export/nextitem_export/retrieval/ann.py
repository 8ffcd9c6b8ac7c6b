"""Writes the retrieval step for `--scoring ann`: the session model's graph, the table as npy and a faiss index."""

from __future__ import annotations

import importlib
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import AnnRetrieval, OnnxGraph

from .._errors import UnsupportedModel
from .graph import item_tensor
from .nodes import Constants, Nodes, StoredArrays
from .session_graph import SessionGraph
from .tensors import OUTPUTS, RankedItems, add_heads, head_tensors

_INDEX, _TABLE = "index.faiss", "ann/table"

#: Candidates for each item of an answer that are scored exactly, and the fewest: int8 codes put neighbours in another order.
OVERFETCH, FEWEST = 4, 256
#: Training points per list, and passes over them: as many as faiss recommends at least, and half of its default.
_POINTS, _PASSES = 48, 10


def write_ann(
    ranked: RankedItems, session: SessionGraph, names: Sequence[str], folder: Path, probes: int, threads: int
) -> AnnRetrieval:
    """Write the graph, `index.faiss` where there is none yet, and the arrays. Returns what step.json says of them.

    probes: lists that a search reads. Raises UnsupportedModel where faiss is missing.
    """
    stored, constants = StoredArrays(folder), Constants("ranking")
    table = ranked.table
    assert table is not None
    name = session.table or _TABLE
    for weight, values in session.weights.items():
        if weight != name:
            stored.add(weight, values)
    stored.add(name, table, apart=True, unused=session.table is None)
    np.save(folder / "popularity.npy", ranked.log_popularity, allow_pickle=False)
    nodes = Nodes(constants, session.opset)
    newest = nodes.reduce_max(item_tensor(ranked, names), 1, keepdims=True)
    nodes.nodes += [
        helper.make_node("Identity", [inner], [outer])
        for inner, outer in ((session.result, "query"), (newest, "newest"))
    ]
    heads = add_heads(nodes, ranked.heads, session.heads, newest)
    graph = helper.make_graph(
        [*session.nodes, *nodes.nodes],
        "query",
        session.inputs,
        [
            helper.make_tensor_value_info("query", TensorProto.FLOAT, ["B", table.shape[1]]),
            helper.make_tensor_value_info("newest", TensorProto.INT64, ["B", 1]),
            *heads,
        ],
        [*stored.initializers, *constants.initializers],
    )
    model = helper.make_model(graph, opset_imports=session.opset_imports)
    model.ir_version = session.ir_version
    onnx.save(model, str(folder / "model.onnx"))
    if not (folder / _INDEX).exists():
        build_index(table, folder / _INDEX, threads)
    file = stored.file(name)
    assert file is not None
    return AnnRetrieval(
        graph=OnnxGraph(threads),
        index=_INDEX,
        table=file,
        popularity="popularity.npy",
        filters=tuple(names[len(session.inputs) :][:2]),
        outputs=OUTPUTS,
        heads=tuple(head_tensors(ranked.heads)),
        k=ranked.k,
        candidates=min(max(OVERFETCH * ranked.k, FEWEST), len(table)),
        probes=probes,
    )


def lists_for(items: int) -> int:
    """Inverted lists for so many items: 4 √V, as faiss advises, and no more than the items can train."""
    return max(1, min(2 ** round(math.log2(4 * math.sqrt(items))), items // _POINTS))


def build_index(table: np.ndarray, path: Path, threads: int = 1) -> None:
    """Write an IVF index with int8 codes over the rows of float32 [V, D] that are items, under their codes.

    Raises UnsupportedModel where faiss is missing.
    """
    try:
        faiss: Any = importlib.import_module("faiss")
    except ImportError as error:
        raise UnsupportedModel(
            "scoring 'ann' needs faiss, which is not installed: pip install faiss-cpu, or choose exact or int8-rerank"
        ) from error
    faiss.omp_set_num_threads(threads)
    items = np.ascontiguousarray(table[FIRST_ITEM:])
    lists = lists_for(len(items))
    index = faiss.index_factory(table.shape[1], f"IVF{lists},SQ8", faiss.METRIC_INNER_PRODUCT)
    index.cp.niter, index.cp.min_points_per_centroid = _PASSES, 1
    random = np.random.default_rng(0)
    index.train(items[random.permutation(len(items))[: max(lists * _POINTS, 10_000)]])
    index.add_with_ids(items, np.arange(FIRST_ITEM, len(table)))
    faiss.write_index(index, str(path))
