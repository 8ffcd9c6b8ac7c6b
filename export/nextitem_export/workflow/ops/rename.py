"""Rename: the same columns under other names."""

from __future__ import annotations

from typing import Any

from nvtabular import ops

from ..columns import Table
from ..registry import Inputs, lowering


@lowering(ops.Rename)
def lower(operator: ops.Rename, inputs: Inputs) -> Table:
    """Each output column is the one that it is made from."""
    mapping: dict[str, list[Any]] = operator.column_mapping(inputs.selector)
    return {name: inputs.table[sources[0]] for name, sources in mapping.items()}
