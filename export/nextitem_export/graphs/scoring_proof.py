"""Exact answers from a first look in int8: taken where it is proven that nothing was missed, and scanned in float32 else.

The items of the highest sums are scored exactly. If the highest sum of all others, in scores, and the bound on its error
(`scoring_int8.py`) together are below the k-th best exact score, no other item can be among the k best: the answer is the exact
one. How many items must be scored for that follows from how close together scores are; the export measures it on the sample's
sessions. A batch in which one session's answer is not proven is scanned again.
"""

from __future__ import annotations

import dataclasses
from functools import partial

import numpy as np
from onnx import TensorProto

from .scoring import Asked, Best, Catalogue, Scan, all_or_any
from .scoring_blocks import Blocks
from .scoring_int8 import ZERO, QuantizedQuery, QuantizedTable, quantize_query, rounded_query
from .scoring_nodes import Nodes

#: The sessions of a batch for which the look pays: it reads a quarter of the bytes, and products for many sessions at once are
#: bound by arithmetic. With more sessions it is also rarer that all are proven.
FEW = 4


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
        otherwise = partial(self.otherwise, asked=asked, catalogue=catalogue)
        values, codes = nodes.when(few, partial(self._looked, asked, catalogue), otherwise)
        return values, codes

    def _looked(self, asked: Asked, catalogue: Catalogue, nodes: Nodes) -> Best:
        query = quantize_query(nodes, asked.session)
        found, lowest = self.look.looked(nodes, asked, catalogue, query)
        proven = all_proven(nodes, asked, query, self.quantized, lowest, found[0])
        values, codes = nodes.when(proven, lambda _: found, partial(self.otherwise, asked=asked, catalogue=catalogue))
        return values, codes


def all_proven(
    nodes: Nodes, asked: Asked, query: QuantizedQuery, table: QuantizedTable, lowest: str, values: str
) -> str:
    """Whether each plain session's worst value of float32 [B, k] is above all that was not scored exactly, bool [1].

    lowest: int32 [B, 1], no lower than the sum of any item that was not.
    """
    rounded = nodes.add("Cast", query.values, to=TensorProto.FLOAT)
    rounded = nodes.add("Mul", nodes.add("Sub", rounded, nodes.constant(np.float32(ZERO))), query.scale)
    of_table, of_query = (nodes.constant(np.float32(factor)) for factor in table.error_factors)
    error = nodes.add(
        "Add",
        nodes.add("Mul", nodes.length(asked.session), of_table),
        nodes.add("Mul", nodes.length(nodes.add("Sub", asked.session, rounded)), of_query),
    )
    unit = nodes.add("Mul", query.scale, nodes.constant(np.float32(table.scale)))
    highest_left = nodes.add("Mul", nodes.add("Cast", lowest, to=TensorProto.FLOAT), unit)
    kept = nodes.add("Less", nodes.add("Add", highest_left, error), nodes.last(values))
    all_kept, _ = all_or_any(nodes, nodes.add("Or", kept, nodes.add("Not", asked.plain)))
    return all_kept


def scored_to_prove(table: np.ndarray, quantized: QuantizedTable, queries: np.ndarray, k: int) -> np.ndarray:
    """How many items must be scored exactly to prove each query's k best, int64 [S].

    table: float32 [rows, D]; queries: float32 [S, D].
    """
    scored = []
    signed = quantized.values.astype(np.float32) - ZERO
    of_table, of_query = quantized.error_factors
    for query in queries:
        rounded, scale = rounded_query(query)
        error = of_table * np.linalg.norm(query) + of_query * np.linalg.norm(query - rounded * np.float32(scale))
        worst = np.partition(table @ query, len(table) - k)[len(table) - k]
        # In float32 as far as integers are exact; beyond, the error is one part in 2**24.
        sums = (signed @ rounded) * np.float32(scale * quantized.scale)
        scored.append(int((sums + error >= worst).sum()))
    return np.array(scored)
