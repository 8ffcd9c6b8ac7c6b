"""ListSlice: a part of each list."""

from __future__ import annotations

import dataclasses

from nvtabular import ops

from ..expressions import Column, Table
from ..registry import Inputs, lowering, refused

_NEVER_ENDS = 2**62  # NVTabular's default end is the largest int64


@lowering(ops.ListSlice)
def lower(operator: ops.ListSlice, inputs: Inputs) -> Table:
    """A Python slice of the list; padding is what the tensors of the model have anyway."""
    return {name: _sliced(operator, name, column) for name, column in inputs.selected.items()}


def _sliced(operator: ops.ListSlice, name: str, column: Column) -> Column:
    if column.level != "list":
        raise refused(operator, [name], "the column is no list: group interactions with Groupby before")
    if column.start is not None or column.stop is not None:
        raise refused(operator, [name], "the list is sliced already: slice once")
    assert operator.end is not None  # it puts the default for None
    stop = None if operator.end > _NEVER_ENDS else operator.end
    return dataclasses.replace(column, start=operator.start, stop=stop)
