"""The scan of a large catalogue: block by block, so that what a batch holds does not grow with the catalogue.

Of each block's scores only the maxima of groups of neighbouring items stay. An item among the k best stands in one of the k
groups with the highest maxima (ties to the lower group), since each group ahead of its own holds an item ahead of it. So the
items of the best groups are scored once more, exactly and with their codes in order, filtered and ranked. Items that must not
come may put their groups ahead: as many more groups are kept as there can be such. Only where that is many, for long lists of
excluded codes or items that are not available, are they marked in the scan itself.

The first pass may be approximate: int8 reads a quarter of the bytes, and more groups are kept to make up for its error. One
scale for the whole table, not one per item: an item's error then does not depend on its length, and the scan's integers can be
compared as they are. The query has a scale of its own in each session, so an answer does not depend on its neighbours.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
from onnx import TensorProto

from ..runtime.codes import PENALTY
from ..runtime.filters import WIDTHS
from .scoring import MINUS_INFINITY, Asked, Best, Catalogue
from .scoring_nodes import Nodes

#: Items in a block, a multiple of GROUP: the scores of 64 sessions take 32 MiB.
BLOCK = 131_072
GROUP = 16
#: Catalogues from so many items are scanned in blocks.
BLOCKS_FROM = 131_072


#: Excluded codes of a session that are left to the exact scores: the narrowest lists that a request comes with.
FEW_EXCLUDED = WIDTHS[0]


def groups_for(k: int, rows: int) -> int:
    """Groups that hold the k best of so many rows, whatever special codes, the fill and few excluded codes put ahead."""
    return min(k + FEW_EXCLUDED + 2, rows // GROUP)


def padded_items(items: int) -> int:
    """Items with those that fill up the last group."""
    return -(-items // GROUP) * GROUP


def block_bounds(rows: int) -> list[tuple[int, int]]:
    """Start and size of each block."""
    return [(start, min(BLOCK, rows - start)) for start in range(0, rows, BLOCK)]


@dataclasses.dataclass(frozen=True)
class Block:
    """Items `start` to `start + size`; `rows` names their part of the table, float32 [size, D] or int8 [D, size]."""

    start: int
    size: int
    rows: str


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A scan in blocks.

    grouped_table: the table's bytes as float32 [rows / GROUP, GROUP * D]. width: D. groups: how many are scored exactly.
    limited: the input, bool [1], that says whether any item is not available. penalty: None for an exact first pass; for int8
    the input int32 [rows], 0 for what is available and PENALTY for the rest.
    """

    blocks: Sequence[Block]
    grouped_table: str
    width: int
    groups: int
    limited: str
    penalty: str | None = None

    def __call__(self, nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
        """Add the scan."""
        listed = nodes.add("Shape", asked.excluded, start=1, end=2)
        many = nodes.add("Greater", listed, nodes.int64(FEW_EXCLUDED))
        marking = nodes.add("Or", self.limited, many)
        if self.penalty is None:
            bias, kind = asked.bias, TensorProto.FLOAT
            change: np.generic = MINUS_INFINITY
        else:
            bias, kind, change = self.penalty, TensorProto.INT32, np.int32(PENALTY)
        maxima = [
            nodes.when(marking, partial(self._marked_maxima, block, scores, asked, bias, change),
                       partial(_maxima, block, scores), (kind,))[0]
            for block, scores in zip(self.blocks, self._scores(nodes, asked), strict=True)
        ]  # fmt: skip
        _, best = nodes.top_k(nodes.add("Concat", *maxima, axis=1), nodes.int64(self.groups))
        groups, _ = nodes.top_k(best, nodes.int64(self.groups), lowest=True)  # (B, groups), so that ties stay in order
        return self._ranked(nodes, asked, catalogue, groups)

    def _scores(self, nodes: Nodes, asked: Asked) -> Iterator[str]:
        """The scores of each block, float32 or int32 [B, size]."""
        if self.penalty is None:
            for block in self.blocks:
                yield nodes.add("Gemm", asked.session, block.rows, transB=1)
            return
        query, zero = _quantized(nodes, asked.session), nodes.constant(np.uint8(128))
        for block in self.blocks:
            yield nodes.add("MatMulInteger", query, block.rows, zero)

    def _marked_maxima(
        self, block: Block, scores: str, asked: Asked, bias: str, change: np.generic, nodes: Nodes
    ) -> tuple[str]:
        """The maxima of what is available and not excluded."""
        end = block.start + block.size
        part = nodes.add("Slice", bias, nodes.int64(block.start), nodes.int64(end), nodes.int64(0))
        scores = nodes.add("Add", scores, part)
        start = nodes.constant(np.int64(block.start))
        above = nodes.add("GreaterOrEqual", asked.excluded, start)
        inside = nodes.add("And", above, nodes.add("Less", asked.excluded, nodes.constant(np.int64(end))))
        # The codes of other blocks add 0 somewhere.
        places = nodes.add("Where", inside, nodes.add("Sub", asked.excluded, start), nodes.constant(np.int64(0)))
        changes = nodes.add("Where", inside, nodes.constant(change), nodes.constant(change.dtype.type(0)))
        return _maxima(block, nodes.add("ScatterElements", scores, places, changes, axis=1, reduction="add"), nodes)

    def _ranked(self, nodes: Nodes, asked: Asked, catalogue: Catalogue, groups: str) -> Best:
        """The best items of groups [B, groups], by exact scores."""
        items = nodes.int64(0, self.groups * GROUP)
        rows = nodes.add("Gather", self.grouped_table, groups)
        rows = nodes.add("Reshape", rows, nodes.int64(0, self.groups * GROUP, self.width))  # (B, P, D)
        query = nodes.add("Unsqueeze", asked.session, nodes.int64(2))
        scores = nodes.add("Squeeze", nodes.add("MatMul", rows, query), nodes.int64(2))
        bias = nodes.add("Reshape", asked.bias, nodes.int64(-1, GROUP))
        scores = nodes.add("Add", scores, nodes.add("Reshape", nodes.add("Gather", bias, groups), items))
        scores = self._without_excluded(nodes, scores, asked.excluded, groups)
        first = nodes.add("Mul", nodes.add("Unsqueeze", groups, nodes.int64(2)), nodes.constant(np.int64(GROUP)))
        codes = nodes.add("Reshape", nodes.add("Add", first, nodes.constant(np.arange(GROUP))), items)
        best, index = nodes.top_k(scores, nodes.int64(catalogue.reach))
        return best, nodes.add("GatherElements", codes, index, axis=1)

    def _without_excluded(self, nodes: Nodes, scores: str, excluded: str, groups: str) -> str:
        """Minus infinity where an excluded code [B, P] stands among the groups, which are few."""
        size = nodes.constant(np.int64(GROUP))
        of_code = nodes.add("Unsqueeze", nodes.add("Div", excluded, size), nodes.int64(2))
        same = nodes.add("Equal", of_code, nodes.add("Unsqueeze", groups, nodes.int64(1)))  # (B, P, groups)
        same = nodes.add("Cast", same, to=TensorProto.UINT8)
        found = nodes.add("Cast", nodes.reduce_max(same, 2, keepdims=False), to=TensorProto.BOOL)
        place = nodes.add("Mul", nodes.add("ArgMax", same, axis=2, keepdims=0), size)
        place = nodes.add("Add", place, nodes.add("Mod", excluded, size))
        place = nodes.add("Where", found, place, nodes.constant(np.int64(0)))
        change = nodes.add("Where", found, nodes.constant(MINUS_INFINITY), nodes.constant(np.float32(0)))
        return nodes.add("ScatterElements", scores, place, change, axis=1, reduction="add")


def _maxima(block: Block, scores: str, nodes: Nodes) -> tuple[str]:
    grouped = nodes.add("Reshape", scores, nodes.int64(0, block.size // GROUP, GROUP))
    return (nodes.reduce_max(grouped, 2, keepdims=False),)


def _quantized(nodes: Nodes, query: str) -> str:
    """Queries float32 [B, D] as uint8 around 128, the largest value of each session at 127 from it."""
    highest = nodes.reduce_max(nodes.add("Abs", query), 1, keepdims=True)
    highest = nodes.add("Max", highest, nodes.constant(np.float32(np.finfo(np.float32).tiny)))
    scaled = nodes.add("Mul", nodes.add("Div", query, highest), nodes.constant(np.float32(127)))
    return nodes.add(
        "Cast", nodes.add("Add", nodes.add("Round", scaled), nodes.constant(np.float32(128))), to=TensorProto.UINT8
    )


def quantized_table(table: np.ndarray) -> np.ndarray:
    """The table float32 [rows, D] as int8, one scale for all of it."""
    scale = np.float32(127) / max(float(np.abs(table).max(initial=0)), float(np.finfo(np.float32).tiny))
    return np.rint(table * scale).astype(np.int8)
