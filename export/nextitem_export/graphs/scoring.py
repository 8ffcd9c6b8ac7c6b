"""The ranker as an ONNX graph: the session model's nodes, and behind them scoring, filters and top-k, written by hand.

What a catalogue costs is the passes over it, so nearly all that the contract asks for happens outside of the scan:

- the scan is one Gemm a block of items, to which what is not available comes as its bias, then the codes that a session
  excludes are overwritten, then the top-k of the block; the blocks' best are ranked once more. No more than one block's scores
  are held at a time, whatever the catalogue and the batch;
- in a wide block, top-k looks for the groups of items with the largest maxima first: an item among the k best stands in one of
  the k best groups, since each group ahead of its own holds an item ahead of it;
- sessions that are cold or have an allow list are answered apart (`scoring_apart.py`), in branches that are only run where the
  batch has such a session, and the scan only where it has another one.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np
from onnx import TensorProto

from ..runtime.codes import COLD, EMPTY, FIRST_ITEM, LOWEST_FLOAT32, OK, PADDING
from .scoring_nodes import Nodes

#: Items in a block of the scan, a multiple of GROUP: 64 sessions' scores of one block take 64 MiB.
BLOCK = 262_144
#: Items in a group of a wide block's top-k, and the narrowest block for which groups pay.
GROUP = 64
GROUPED_FROM = 131_072

MINUS_INFINITY = np.float32(-np.inf)

#: Values float32 [B, K] and codes int64 [B, K], best first.
Best = tuple[str, str]


@dataclasses.dataclass(frozen=True)
class Asked:
    """Names of what a batch asks.

    session: the queries float32 [B, D] or scores [B, V]. newest: the highest item code of each session, int64 [B, 1].
    excluded, allowed: int64 [B, P] each. bias: float32 [V], 0 for what is available and minus infinity for the rest.
    """

    session: str
    newest: str
    excluded: str
    allowed: str
    bias: str


@dataclasses.dataclass(frozen=True)
class Catalogue:
    """Names of what is stored, and sizes.

    table: float32 [V, D], None where the session model gives the scores itself. popularity: float32 [V]. blocks: start, items
    and the table's rows of each block. items: V. k: items of an answer.
    """

    table: str | None
    popularity: str
    blocks: Sequence[Block]
    items: int
    k: int

    @property
    def reach(self) -> int:
        """Items of an answer before it is filled up."""
        return min(self.k, self.items)


@dataclasses.dataclass(frozen=True)
class Block:
    """Items `start` to `start + size`; `rows` names their part of the table."""

    start: int
    size: int
    rows: str


def split_blocks(items: int) -> list[tuple[int, int]]:
    """Start and size of the blocks of a catalogue; those wide enough for groups are whole groups."""
    if items < GROUPED_FROM:
        return [(0, items)]
    whole = items - items % GROUP
    starts = [*range(0, whole, BLOCK), *([whole] if whole < items else []), items]
    return [(start, end - start) for start, end in itertools.pairwise(starts)]


def scan(nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
    """The best of all items, but for what is excluded or not available."""
    if catalogue.table is None:
        scores = nodes.add("Add", asked.session, asked.bias)
        return _block_best(nodes, _without(nodes, scores, asked.excluded), catalogue.items, catalogue.reach)
    if len(catalogue.blocks) == 1:
        scores = nodes.add("Gemm", asked.session, catalogue.table, asked.bias, transB=1)
        return _block_best(nodes, _without(nodes, scores, asked.excluded), catalogue.items, catalogue.reach)
    return _scan_blocks(nodes, asked, catalogue)


def _scan_blocks(nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
    blocks = catalogue.blocks
    sizes = nodes.int64(*(block.size for block in blocks))
    biases = nodes.several("Split", asked.bias, sizes, outputs=len(blocks), axis=0)
    places, changes = _places(nodes, asked.excluded, blocks)
    found: list[Best] = []
    for number, (block, bias) in enumerate(zip(blocks, biases, strict=True)):
        scores = nodes.add("Gemm", asked.session, block.rows, bias, transB=1)
        place, change = (nodes.add("Gather", each, nodes.constant(np.int64(number))) for each in (places, changes))
        scores = nodes.add("ScatterElements", scores, place, change, axis=1, reduction="add")
        best, codes = _block_best(nodes, scores, block.size, min(catalogue.reach, block.size))
        found.append((best, nodes.add("Add", codes, nodes.constant(np.int64(block.start)))))
    best = nodes.add("Concat", *(best for best, _ in found), axis=1)
    codes = nodes.add("Concat", *(codes for _, codes in found), axis=1)
    # Equal scores stand in the order of their codes: within a block by its own top-k, and blocks one after the other.
    best, index = nodes.top_k(best, nodes.int64(catalogue.reach))
    return best, nodes.add("GatherElements", codes, index, axis=1)


def _places(nodes: Nodes, excluded: str, blocks: Sequence[Block]) -> Best:
    """Where the excluded codes stand in each block and what is added there, [blocks, B, P]: 0 for those of other blocks."""
    starts, ends = (
        nodes.constant(np.array(bounds, dtype=np.int64)[:, None, None])
        for bounds in ([block.start for block in blocks], [block.start + block.size for block in blocks])
    )
    inside = nodes.add("And", nodes.add("GreaterOrEqual", excluded, starts), nodes.add("Less", excluded, ends))
    place = nodes.add("Where", inside, nodes.add("Sub", excluded, starts), nodes.constant(np.int64(0)))
    change = nodes.add("Where", inside, nodes.constant(MINUS_INFINITY), nodes.constant(np.float32(0)))
    return place, change


def _without(nodes: Nodes, scores: str, excluded: str) -> str:
    """Scores [B, V] with minus infinity at the codes excluded [B, P]; padding falls on code 0, which is no item."""
    return nodes.add("ScatterElements", scores, excluded, filled_like(nodes, excluded, MINUS_INFINITY), axis=1)


def filled_like(nodes: Nodes, values: str, value: np.generic) -> str:
    """A tensor of one value with the shape of another."""
    return nodes.add("Expand", nodes.constant(value), nodes.add("Shape", values))


def _block_best(nodes: Nodes, scores: str, size: int, k: int) -> Best:
    """The k best of scores [B, size] and where they stand, ties lower index first."""
    if size < GROUPED_FROM or size % GROUP:
        return nodes.top_k(scores, nodes.int64(k))
    groups = min(k, size // GROUP)
    grouped = nodes.add("Reshape", scores, nodes.int64(0, size // GROUP, GROUP))
    _, best_groups = nodes.top_k(nodes.reduce_max(grouped, 2, keepdims=False), nodes.int64(groups))
    ordered, _ = nodes.top_k(best_groups, nodes.int64(groups), lowest=True)  # so that ties stay in order
    first = nodes.add("Mul", nodes.add("Unsqueeze", ordered, nodes.int64(2)), nodes.constant(np.int64(GROUP)))
    members = nodes.add("Add", first, nodes.constant(np.arange(GROUP)))  # (B, groups, GROUP)
    members = nodes.add("Reshape", members, nodes.int64(0, groups * GROUP))
    best, index = nodes.top_k(nodes.add("GatherElements", scores, members, axis=1), nodes.int64(k))
    return best, nodes.add("GatherElements", members, index, axis=1)


def statuses(nodes: Nodes, newest: str) -> str:
    """int32 [B, 1] by the highest code of each session: padding alone is empty, null and unknown alone cold."""
    by_code = np.full(FIRST_ITEM + 1, COLD, dtype=np.int32)
    by_code[PADDING], by_code[FIRST_ITEM] = EMPTY, OK
    bounded = nodes.add("Min", newest, nodes.constant(np.int64(FIRST_ITEM)))
    return nodes.add("Gather", nodes.constant(by_code), bounded)


def finish(nodes: Nodes, best: Best, catalogue: Catalogue) -> Best:
    """Filled up to [B, K] with code 0 and the lowest score, which is also what stands for no number."""
    values, codes = best
    valid = nodes.add("Greater", values, nodes.constant(np.float32(LOWEST_FLOAT32)))
    values = nodes.add("Where", valid, values, nodes.constant(np.float32(LOWEST_FLOAT32)))
    codes = nodes.add("Where", valid, codes, nodes.constant(np.int64(PADDING)))
    missing = catalogue.k - catalogue.reach
    if missing:
        pads = nodes.int64(0, 0, 0, missing)
        values = nodes.add("Pad", values, pads, nodes.constant(np.float32(LOWEST_FLOAT32)))
        codes = nodes.add("Pad", codes, pads, nodes.constant(np.int64(PADDING)))
    return values, codes


def all_or_any(nodes: Nodes, flags: str) -> tuple[str, str]:
    """Whether all of the flags, bool [B, 1], are set, and whether any is; bool [1] each."""
    numbers = nodes.add("Cast", flags, to=TensorProto.INT32)
    most = nodes.reduce_max(numbers, 0, keepdims=False)
    least = nodes.add("Neg", nodes.reduce_max(nodes.add("Neg", numbers), 0, keepdims=False))
    return tuple(nodes.add("Cast", each, to=TensorProto.BOOL) for each in (least, most))  # type: ignore[return-value]
