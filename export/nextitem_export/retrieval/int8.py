"""The item table and the queries in 8 bits, for a first look at the catalogue that reads a quarter of the bytes.

X ≈ s X8 and q ≈ t q8, with one scale for the whole table, so that the sums q8·X8 of a session can be compared as they are, and
one for each query, so that an answer does not depend on its neighbours. An item's true score differs from its sum by

    |q·x - s t q8·x8| = |q·(x - s x8) + (q - t q8)·s x8| <= |q| R + |q - t q8| M,

R the longest of the table's rounding errors and M its longest rounded row, both known at export, the two lengths of the query
at serving.

Both sides are unsigned with 128 as zero: ONNX Runtime multiplies unsigned by signed bytes in 16 bits, which overflow on
processors without VNNI, and unsigned by unsigned ones exactly on all.

An answer from such a look is exact where it is proven that nothing was missed. The items of the highest sums are scored
exactly. If the highest sum of all others, in scores, and the bound on its error together are below the k-th best exact score,
no other item can be among the k best. How many items must be scored for that follows from how close together scores are; the
export measures it on the sample's sessions.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from onnx import TensorProto

from .nodes import Nodes
from .scan import Asked, all_or_any

#: The widest rows whose sums stay above PENALTY.
WIDEST = 1024
ZERO, _HIGHEST = 128, 127
_TINY = np.float32(np.finfo(np.float32).tiny)


@dataclasses.dataclass(frozen=True)
class QuantizedTable:
    """The item table in 8 bits.

    values: uint8 [rows, D] around 128. scale: units of the table in one of the integers. error_factors: what the lengths of a
    query and of its rounding error are multiplied by to bound the error of its sums.
    """

    values: np.ndarray
    scale: float
    error_factors: tuple[float, float]


def quantize_table(table: np.ndarray) -> QuantizedTable:
    """Round a table float32 [rows, D]."""
    scale = max(float(np.abs(table).max(initial=0)), float(_TINY)) / _HIGHEST
    rounded = np.rint(table / np.float32(scale))
    rounding = float(np.linalg.norm(table - rounded * np.float32(scale), axis=1).max(initial=0))
    longest = float(np.linalg.norm(rounded, axis=1).max(initial=0)) * scale
    # Products in float32 are rounded as well: in these lengths, in the exact scores and in the model's own.
    slack = table.shape[1] * 2.0**-22
    factors = (rounding * (1 + slack) + longest * slack, longest * (1 + slack))
    return QuantizedTable((rounded + ZERO).astype(np.uint8), scale, factors)


def main_axes(table: np.ndarray, width: int) -> np.ndarray:
    """The directions in which a table float32 [rows, D] has most of its length, float32 [D, width].

    Principal components without a mean: products along them alone come near the whole ones.
    """
    _, directions = np.linalg.eigh(table.T.astype(np.float64) @ table)  # by rising length
    return np.ascontiguousarray(directions[:, ::-1][:, :width], dtype=np.float32)


def rounded_query(query: np.ndarray) -> tuple[np.ndarray, float]:
    """What `quantize_query` makes of a query float32 [D]: integers around 0, and the scale."""
    scale = max(float(np.abs(query).max()), float(_TINY)) / _HIGHEST
    return np.rint(query / np.float32(scale)), scale


@dataclasses.dataclass(frozen=True)
class QuantizedQuery:
    """Names of the queries as uint8 [B, D] around 128, and float32 units of the query in one of the integers [B, 1]."""

    values: str
    scale: str


def quantize_query(nodes: Nodes, query: str) -> QuantizedQuery:
    """Round queries float32 [B, D], each on its own, so that an answer does not depend on its neighbours."""
    highest = nodes.reduce_max(nodes.add("Abs", query), 1, keepdims=True)
    scale = nodes.add("Div", nodes.add("Max", highest, nodes.constant(_TINY)), nodes.constant(np.float32(_HIGHEST)))
    shifted = nodes.add("Add", nodes.add("Round", nodes.add("Div", query, scale)), nodes.constant(np.float32(ZERO)))
    return QuantizedQuery(nodes.add("Cast", shifted, to=TensorProto.UINT8), scale)


def add_sums(nodes: Nodes, query: QuantizedQuery, table: str) -> str:
    """The sums int32 [B, rows] for a table uint8 [D, rows]."""
    zero = nodes.constant(np.uint8(ZERO))
    return nodes.add("MatMulInteger", query.values, table, zero, zero)


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
