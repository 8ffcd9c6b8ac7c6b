"""The retrieval step as an ONNX graph: the session model's nodes, and behind them scoring, filters and top-k, written by hand.

What a catalogue costs is the passes over it, so nearly all that the contract asks for happens outside of the scan:

- what a session excludes and what is not available is marked among the scores only where the batch has such a thing;
- no more items are ranked than the request wants;
- a large catalogue is looked through by int8 first, and what that proves needs no exact scan (`int8.py`);
- it is scanned in blocks (`blocks.py`), of which only the maxima of groups of items are kept;
- sessions that are cold or have an allow list are answered apart (`popular` and `allowed_only`), in branches that are only run
  where the batch has such a session, and the scan only where it has another one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
from onnx import TensorProto, helper

from nextitem_bundle.runtime.special_ids import COLD, EMPTY, FIRST_ITEM, OK, PADDING
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .nodes import Nodes

MINUS_INFINITY = np.float32(-np.inf)

#: Values float32 [B, K] and codes int64 [B, K], best first.
Best = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Names of what a batch asks.

    session: the queries float32 [B, D] or scores [B, V]. newest: the highest item code of each session, int64 [B, 1]. plain:
    which sessions are answered by the scan, bool [B, 1]. excluded, allowed: int64 [B, P] each. bias: float32 [rows], 0 for
    what is available and minus infinity for the rest; limited: whether there is such a rest, bool [1]. k: items of an answer,
    reach: of them those that the catalogue has, int64 [1] each.
    """

    session: str
    newest: str
    plain: str
    excluded: str
    allowed: str
    bias: str
    limited: str
    k: str
    reach: str


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Names of what is stored, and sizes.

    table: float32 [rows, D], None where the session model gives the scores itself. popularity: float32 [rows]. items: rows,
    and how many of them only fill up the last group of items. limit: the most items of an answer.
    """

    table: str | None
    popularity: str
    items: int
    fill: int
    limit: int


#: Adds the scan of a batch to the nodes: the best of all items, but for what is excluded or not available, [B, reach].
Scan = Callable[[Nodes, Asked, Catalogue], Best]


def scan_at_once(nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
    """One Gemm and one top-k: for catalogues whose scores are few enough to be held."""
    scores = asked.session
    if catalogue.table is not None:
        scores = nodes.add("Gemm", asked.session, catalogue.table, transB=1)

    def marked(branch: Nodes) -> Best:
        open_ = branch.add("Add", scores, asked.bias)
        # Padding falls on code 0, which is no item.
        minus = filled_like(branch, asked.excluded, MINUS_INFINITY)
        return branch.top_k(branch.add("ScatterElements", open_, asked.excluded, minus, axis=1), asked.reach)

    def unmarked(branch: Nodes) -> Best:
        ahead = branch.int64(FIRST_ITEM + catalogue.fill)  # what is no item may be the best of all
        most = branch.add("Min", branch.add("Add", asked.reach, ahead), branch.int64(catalogue.items))
        best, codes = branch.top_k(scores, most)
        best, places = branch.top_k(branch.add("Add", best, branch.add("Gather", asked.bias, codes)), asked.reach)
        return best, branch.add("GatherElements", codes, places, axis=1)

    best, codes = nodes.when(nodes.add("Or", asked.limited, any_listed(nodes, asked.excluded)), marked, unmarked)
    return best, codes


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
    values = nodes.add("Concat", values, nodes.constant(np.array([MINUS_INFINITY])), axis=0)
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


def any_listed(nodes: Nodes, codes: str) -> str:
    """Whether any code [B, P] is no padding, bool [1]."""
    highest = nodes.reduce_max(nodes.reduce_max(codes, 1, keepdims=True), 0, keepdims=False)
    return nodes.add("Greater", highest, nodes.int64(PADDING))


def filled_like(nodes: Nodes, values: str, value: np.generic) -> str:
    """A tensor of one value with the shape of another."""
    return nodes.add("Expand", nodes.constant(value), nodes.add("Shape", values))


def statuses(nodes: Nodes, newest: str) -> str:
    """int32 [B, 1] by the highest code of each session: padding alone is empty, null and unknown alone cold."""
    by_code = np.full(FIRST_ITEM + 1, COLD, dtype=np.int32)
    by_code[PADDING], by_code[FIRST_ITEM] = EMPTY, OK
    bounded = nodes.add("Min", newest, nodes.constant(np.int64(FIRST_ITEM)))
    return nodes.add("Gather", nodes.constant(by_code), bounded)


def finish(nodes: Nodes, best: Best, asked: Asked, catalogue: Catalogue) -> Best:
    """Filled up to [B, k] with code 0 and the lowest score, which is also what stands for no number."""
    values, codes = best
    valid = nodes.add("Greater", values, nodes.constant(np.float32(LOWEST_FLOAT32)))
    values = nodes.add("Where", valid, values, nodes.constant(np.float32(LOWEST_FLOAT32)))
    codes = nodes.add("Where", valid, codes, nodes.constant(np.int64(PADDING)))
    if catalogue.limit > catalogue.items:
        pads = nodes.add("Concat", nodes.int64(0, 0, 0), nodes.add("Sub", asked.k, asked.reach), axis=0)
        values = nodes.add("Pad", values, pads, nodes.constant(np.float32(LOWEST_FLOAT32)))
        codes = nodes.add("Pad", codes, pads, nodes.constant(np.int64(PADDING)))
    return values, codes


def all_or_any(nodes: Nodes, flags: str) -> tuple[str, str]:
    """Whether all of the flags, bool [B, 1], are set, and whether any is; bool [1] each."""
    numbers = nodes.add("Cast", flags, to=TensorProto.INT32)
    most = nodes.reduce_max(numbers, 0, keepdims=False)
    least = nodes.add("Neg", nodes.reduce_max(nodes.add("Neg", numbers), 0, keepdims=False))
    return tuple(nodes.add("Cast", each, to=TensorProto.BOOL) for each in (least, most))  # type: ignore[return-value]
