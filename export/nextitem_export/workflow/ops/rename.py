"""Rename: the same columns under other names."""

from __future__ import annotations

from typing import Any

from merlin.dag import ops as dag_ops
from nvtabular import ops

from ..expressions import Table
from ..registry import Inputs, lowering


@lowering(ops.Rename, dag_ops.Rename)
def lower(operator: ops.Rename, inputs: Inputs) -> Table:
    """Each output column is the one that it is made from."""
    mapping: dict[str, list[Any]] = operator.column_mapping(inputs.selector)
    return {name: inputs.table[sources[0]] for name, sources in mapping.items()}
