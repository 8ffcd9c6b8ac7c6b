"""Operators that change which columns there are, or what is known of them, and no value."""

from __future__ import annotations

from typing import Any

from merlin.dag.ops.add_metadata import AddMetadata
from merlin.dag.ops.concat_columns import ConcatColumns
from merlin.dag.ops.selection import SelectionOp
from merlin.dag.ops.subset_columns import SubsetColumns
from merlin.dag.ops.subtraction import SubtractionOp
from nvtabular import ops

from ..expressions import Table
from ..registry import Inputs, lowering


@lowering(
    AddMetadata,
    ConcatColumns,
    SelectionOp,
    SubsetColumns,
    SubtractionOp,
    ops.AddMetadata,
    ops.DropLowCardinality,
    ops.ReduceDtypeSize,
    ops.ValueCount,
)
def lower(operator: Any, inputs: Inputs) -> Table:
    """The node's output columns, by name, as they came."""
    return {name: inputs.table[name] for name in operator.column_mapping(inputs.selector) if name in inputs.table}
