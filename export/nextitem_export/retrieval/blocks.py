"""The scan of a large catalogue: block by block, so that what a batch holds does not grow with the catalogue.

Of each block's scores only the maxima of groups of neighbouring items stay. An item among the k best stands in one of the k
groups with the highest maxima (ties to the lower group), since each group ahead of its own holds an item ahead of it. So the
items of the best groups are scored once more, exactly and with their codes in order, filtered and ranked. Items that must not
come may put their groups ahead: as many more groups are kept as there can be such. Only where that is many, for long lists of
excluded codes or items that are not available, are they marked in the scan itself.

The first pass may be approximate, in int8, with more groups to make up for its error: `int8.py` says how it is rounded, and how
it is proven that nothing was missed. A batch in which one session's answer is not proven is scanned again, in float32.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import partial

import numpy as np
from onnx import TensorProto

from nextitem_bundle.runtime.filters import WIDTHS
from nextitem_bundle.runtime.special_ids import PENALTY

from .int8 import QuantizedQuery, QuantizedTable, add_sums, all_proven, quantize_query
from .nodes import Nodes
from .scan import MINUS_INFINITY, Asked, Best, Catalogue, Scan

#: Neighbouring items of which a scan compares only the best one with others at first.
GROUP = 16
#: Catalogues from so many items are scanned in blocks, by int8 first: below, one product in float32 is as fast.
BLOCKS_FROM = 131_072
#: Items in a block, a multiple of GROUP: the scores of 64 sessions take 32 MiB.
BLOCK = 131_072
#: Excluded codes of a session that a scan in blocks leaves to the exact scores: the narrowest lists that a request comes with.
FEW_EXCLUDED = WIDTHS[0]
#: The sessions of a batch for which the look pays: it reads a quarter of the bytes, and products for many sessions at once are
#: bound by arithmetic. With more sessions it is also rarer that all are proven.
FEW = 4


def padded_items(items: int) -> int:
    """Items with those that fill up the last group."""
    return -(-items // GROUP) * GROUP


def block_bounds(rows: int) -> list[tuple[int, int]]:
    """Start and size of each block."""
    return [(start, min(BLOCK, rows - start)) for start in range(0, rows, BLOCK)]


@dataclasses.dataclass(frozen=True)
class Groups:
    """How many groups are scored exactly for an answer of k items: `each` for one of them, and `more`."""

    each: int
    more: int

    def at(self, k: int) -> int:
        """The number."""
        return self.each * k + self.more

    def of(self, nodes: Nodes, k: str) -> str:
        """The number as a tensor, of k int64 [1]."""
        return nodes.add("Add", nodes.add("Mul", k, nodes.int64(self.each)), nodes.int64(self.more))


#: What holds the best of an exact pass, whatever special codes, the fill and few excluded codes put ahead.
GROUPS_EXACT = Groups(1, FEW_EXCLUDED + 2)


@dataclasses.dataclass(frozen=True)
class Block:
    """Items `start` to `start + size`; `rows` names their part of the table, float32 [size, D] or uint8 [D, size]."""

    start: int
    size: int
    rows: str


@dataclasses.dataclass(frozen=True)
class Blocks:
    """A scan in blocks.

    grouped_table: the table's bytes as float32 [rows / GROUP, GROUP * D]. width: D. groups: how many are scored exactly for an
    answer of k items. penalty: None for an exact first pass; for int8 the input int32 [rows], 0 for what is available and
    PENALTY for the rest. axes: float32 [D, d] where the int8 rows have d columns of products with these.
    """

    blocks: Sequence[Block]
    grouped_table: str
    width: int
    groups: Groups = GROUPS_EXACT
    penalty: str | None = None
    axes: np.ndarray | None = None

    def __call__(self, nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
        """Add the scan."""
        return self.looked(nodes, asked, catalogue, self._query(nodes, asked))[0]

    def looked(
        self, nodes: Nodes, asked: Asked, catalogue: Catalogue, query: QuantizedQuery | None
    ) -> tuple[Best, str]:
        """The best items, and a score or sum [B, 1] that those which were not scored exactly have at most."""
        widest = nodes.add("Shape", asked.excluded, start=1, end=2)
        many = nodes.add("Greater", widest, nodes.int64(FEW_EXCLUDED))
        marking = nodes.add("Or", asked.limited, many)
        if self.penalty is None:
            bias, kind = asked.bias, TensorProto.FLOAT
            change: np.generic = MINUS_INFINITY
        else:
            bias, kind, change = self.penalty, TensorProto.INT32, np.int32(PENALTY)
        maxima = []
        for block in self.blocks:
            scores = self._scores(nodes, asked, query, block)
            marked = partial(self._marked_maxima, block, scores, asked, bias, change)
            maxima += nodes.when(marking, marked, partial(_maxima, block, scores), (kind,))
        count = nodes.add("Min", self.groups.of(nodes, asked.reach), nodes.int64(catalogue.items // GROUP))
        highest, found = nodes.top_k(nodes.add("Concat", *maxima, axis=1), count)
        groups, _ = nodes.top_k(found, count, lowest=True)  # (B, G), so that ties stay in order
        return self._ranked(nodes, asked, groups), nodes.last(highest)

    def _query(self, nodes: Nodes, asked: Asked) -> QuantizedQuery | None:
        if self.penalty is None:
            return None
        session = asked.session if self.axes is None else nodes.add("MatMul", asked.session, nodes.constant(self.axes))
        return quantize_query(nodes, session)

    def _scores(self, nodes: Nodes, asked: Asked, query: QuantizedQuery | None, block: Block) -> str:
        """The scores of a block, float32 [B, size], or its sums, int32."""
        if query is None:
            return nodes.add("Gemm", asked.session, block.rows, transB=1)
        return add_sums(nodes, query, block.rows)

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

    def _ranked(self, nodes: Nodes, asked: Asked, groups: str) -> Best:
        """The best items of groups [B, G], by exact scores."""
        items = nodes.int64(0, -1)
        rows = nodes.add("Gather", self.grouped_table, groups)
        rows = nodes.add("Reshape", rows, nodes.int64(0, -1, self.width))  # (B, G * GROUP, D)
        query = nodes.add("Unsqueeze", asked.session, nodes.int64(2))
        scores = nodes.add("Squeeze", nodes.add("MatMul", rows, query), nodes.int64(2))
        bias = nodes.add("Reshape", asked.bias, nodes.int64(-1, GROUP))
        scores = nodes.add("Add", scores, nodes.add("Reshape", nodes.add("Gather", bias, groups), items))
        scores = self._without_excluded(nodes, scores, asked.excluded, groups)
        first = nodes.add("Mul", nodes.add("Unsqueeze", groups, nodes.int64(2)), nodes.constant(np.int64(GROUP)))
        codes = nodes.add("Reshape", nodes.add("Add", first, nodes.constant(np.arange(GROUP))), items)
        best, index = nodes.top_k(scores, asked.reach)
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


@dataclasses.dataclass(frozen=True)
class Proven:
    """An exact scan by a first look.

    look: in int8. quantized: what its rows were made of. otherwise: the scan of a batch for which it proves nothing.
    """

    look: Blocks
    quantized: QuantizedTable
    otherwise: Scan

    def __call__(self, nodes: Nodes, asked: Asked, catalogue: Catalogue) -> Best:
        """Add the scan."""
        sessions = nodes.add("Shape", asked.session, start=0, end=1)
        few = nodes.add("LessOrEqual", sessions, nodes.int64(FEW))
        values, codes = nodes.when(few, partial(self._looked, asked, catalogue), partial(self._again, asked, catalogue))
        return values, codes

    def _again(self, asked: Asked, catalogue: Catalogue, nodes: Nodes) -> Best:
        return self.otherwise(nodes, asked, catalogue)

    def _looked(self, asked: Asked, catalogue: Catalogue, nodes: Nodes) -> Best:
        query = quantize_query(nodes, asked.session)
        found, lowest = self.look.looked(nodes, asked, catalogue, query)
        proven = all_proven(nodes, asked, query, self.quantized, lowest, found[0])
        values, codes = nodes.when(proven, lambda _: found, partial(self._again, asked, catalogue))
        return values, codes


def _maxima(block: Block, scores: str, nodes: Nodes) -> tuple[str]:
    grouped = nodes.add("Reshape", scores, nodes.int64(0, block.size // GROUP, GROUP))
    return (nodes.reduce_max(grouped, 2, keepdims=False),)
