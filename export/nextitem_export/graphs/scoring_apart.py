"""The sessions that are not ranked by a scan: those without a known item, and those that allow some items only."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper

from .scoring import MINUS_INFINITY, Asked, Best, Catalogue, filled_like
from .scoring_nodes import Nodes


def popular(nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
    """The most popular items, but for what a session excludes or is not available.

    One ranking serves all sessions: of its first K + P items a session's P excluded codes leave K.
    """
    lists = nodes.add("Shape", asked.excluded, start=1, end=2)
    reach = nodes.add("Min", nodes.add("Add", lists, asked.k), nodes.int64(catalogue.items))
    values, codes = nodes.top_k(nodes.add("Add", catalogue.popularity, asked.bias), reach)
    # The rank of each code, and of those further behind the rank of an item that there is none of.
    nowhere = nodes.add("Expand", reach, nodes.int64(catalogue.items))
    zero, one = nodes.constant(np.int64(0)), nodes.constant(np.int64(1))
    ranks = nodes.add("Range", zero, nodes.add("Squeeze", reach), one)
    rank_of = nodes.add("ScatterElements", nowhere, codes, ranks, axis=0)
    values = nodes.add("Concat", values, nodes.constant(MINUS_INFINITY[None]), axis=0)
    codes = nodes.add("Concat", codes, nodes.int64(0), axis=0)
    sessions = nodes.add("Shape", asked.excluded, start=0, end=1)
    shape = nodes.add("Concat", sessions, nodes.add("Shape", values), axis=0)
    left = nodes.add(
        "ScatterElements",
        nodes.add("Expand", values, shape),
        nodes.add("Gather", rank_of, asked.excluded),
        filled_like(nodes, asked.excluded, MINUS_INFINITY),
        axis=1,
    )
    best, index = nodes.top_k(left, asked.reach)
    return best, nodes.add("Gather", codes, index)


def allowed_only(nodes: Nodes, asked: Asked, catalogue: Catalogue, known: str) -> Best:
    """The best of the items that each session allows; only these are scored. known: bool [B, 1].

    The lists are sorted together, what is excluded ahead of the same code allowed, so that an item counts where a code allowed
    follows another code.
    """
    two = nodes.constant(np.int64(2))
    excluded = nodes.add("Mul", asked.excluded, two)
    allowed = nodes.add("Add", nodes.add("Mul", asked.allowed, two), nodes.constant(np.int64(1)))
    keys = nodes.add("Concat", excluded, allowed, axis=1)  # (B, P)
    ordered, _ = nodes.top_k(keys, nodes.add("Shape", keys, start=1, end=2), lowest=True)
    codes = nodes.add("Div", ordered, two)
    before = nodes.add("Pad", codes, nodes.int64(0, 1, 0, -1), nodes.constant(np.int64(-1)))
    first = nodes.add("Not", nodes.add("Equal", codes, before))
    listed = nodes.add("Equal", nodes.add("Mod", ordered, two), nodes.constant(np.int64(1)))
    scores = nodes.add(
        "Where", known, _scores_of(nodes, asked, catalogue, codes), nodes.add("Gather", catalogue.popularity, codes)
    )
    scores = nodes.add("Add", scores, nodes.add("Gather", asked.bias, codes))
    scores = nodes.add("Where", nodes.add("And", listed, first), scores, nodes.constant(MINUS_INFINITY))
    # As many as an answer needs, where the lists are shorter.
    pads = nodes.add("Concat", nodes.int64(0, 0, 0), asked.reach, axis=0)
    scores = nodes.add("Pad", scores, pads, nodes.constant(MINUS_INFINITY))
    codes = nodes.add("Pad", codes, pads)
    best, index = nodes.top_k(scores, asked.reach)
    return best, nodes.add("GatherElements", codes, index, axis=1)


def _scores_of(nodes: Nodes, asked: Asked, catalogue: Catalogue, codes: str) -> str:
    """The scores of codes [B, P]."""
    if catalogue.table is None:
        return nodes.add("GatherElements", asked.session, codes, axis=1)
    return _score_rows(nodes, asked.session, catalogue.table, codes)


def _score_rows(nodes: Nodes, query: str, table: str, codes: str) -> str:
    """Scores [B, P] of queries [B, D] for the table's rows at codes [B, P], a session at a time: P may be 32,768."""
    one, listed = nodes.name("query"), nodes.name("codes")
    body = nodes.inner()
    scores = body.add("MatMul", body.add("Gather", table, listed), one)
    graph = helper.make_graph(
        body.nodes,
        nodes.name("session"),
        [
            helper.make_tensor_value_info(one, TensorProto.FLOAT, ["D"]),
            helper.make_tensor_value_info(listed, TensorProto.INT64, ["P"]),
        ],
        # ONNX Runtime asks for the rank of what a Scan gives, and does not always find it out by itself.
        [helper.make_tensor_value_info(scores, TensorProto.FLOAT, ["P"])],
    )
    return nodes.add("Scan", query, codes, num_scan_inputs=2, body=graph)
