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
from collections.abc import Iterator

import numpy as np
from onnx import TensorProto

from .nodes import Nodes
from .scan import Asked, all_or_any

#: The widest rows whose sums stay above PENALTY.
WIDEST = 1024
ZERO, _HIGHEST = 128, 127
_TINY = np.float32(np.finfo(np.float32).tiny)
#: Rows of a table that are worked on at once.
_ROWS = 65_536


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
    highest = max(float(table.max(initial=0)), -float(table.min(initial=0)))
    scale = max(highest, float(_TINY)) / _HIGHEST
    values = np.empty(table.shape, dtype=np.uint8)
    rounding = longest = 0.0
    for rows in _row_blocks(table):
        rounded = np.rint(table[rows] / np.float32(scale))
        error = np.linalg.norm(table[rows] - rounded * np.float32(scale), axis=1)
        rounding = max(rounding, float(error.max()))
        longest = max(longest, float(np.linalg.norm(rounded, axis=1).max()) * scale)
        values[rows] = rounded + ZERO
    # Products in float32 are rounded as well: in these lengths, in the exact scores and in the model's own.
    slack = table.shape[1] * 2.0**-22
    factors = (rounding * (1 + slack) + longest * slack, longest * (1 + slack))
    return QuantizedTable(values, scale, factors)


def _row_blocks(table: np.ndarray) -> Iterator[slice]:
    """Few rows at once, so that what is worked out of a large table does not take its size again."""
    for start in range(0, len(table), _ROWS):
        yield slice(start, min(start + _ROWS, len(table)))


def main_axes(table: np.ndarray, width: int) -> np.ndarray:
    """The directions in which a table float32 [rows, D] has most of its length, float32 [D, width].

    Principal components without a mean: products along them alone come near the whole ones.
    """
    products = np.zeros((table.shape[1], table.shape[1]))
    for rows in _row_blocks(table):
        block = table[rows].astype(np.float64)
        products += block.T @ block
    _, directions = np.linalg.eigh(products)  # by rising length
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
    of_table, of_query = quantized.error_factors
    each = [rounded_query(query) for query in queries]
    rounded = np.array([values for values, _ in each], dtype=np.float32).reshape(queries.shape)
    scales = np.array([scale for _, scale in each], dtype=np.float32)[:, None]  # (S, 1)
    lengths = np.linalg.norm(queries, axis=1, keepdims=True)
    error = of_table * lengths + of_query * np.linalg.norm(queries - rounded * scales, axis=1, keepdims=True)
    worst = _kth_best(table, queries, k)
    unit = scales * np.float32(quantized.scale)
    scored = np.zeros(len(queries), dtype=np.int64)
    for rows in _row_blocks(table):
        signed = quantized.values[rows].astype(np.float32) - ZERO
        # In float32 as far as integers are exact; beyond, the error is one part in 2**24.
        sums = (rounded @ signed.T) * unit  # (S, rows)
        scored += (sums + error >= worst).sum(axis=1)
    return scored


def _kth_best(table: np.ndarray, queries: np.ndarray, k: int) -> np.ndarray:
    """Each query's score of its k-th best row, float32 [S, 1]."""
    best = np.full((len(queries), k), -np.inf, dtype=np.float32)
    for rows in _row_blocks(table):
        scores = np.concatenate([best, queries @ table[rows].T], axis=1)
        best = np.partition(scores, scores.shape[1] - k, axis=1)[:, -k:]
    return best.min(axis=1, keepdims=True)
