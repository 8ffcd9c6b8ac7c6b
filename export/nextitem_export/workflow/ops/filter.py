"""Filter: on sessions it acts in training alone; on interactions it is refused."""

from __future__ import annotations

from nvtabular import ops

from ..expressions import INTERACTION, Table
from ..registry import Inputs, lowering, refused


@lowering(ops.Filter)
def lower(operator: ops.Filter, inputs: Inputs) -> Table:
    """Every session that asks is answered, so a filter on sessions drops none."""
    if any(column.level == INTERACTION for column in inputs.selected.values()):
        raise refused(
            operator,
            inputs.names,
            "it drops interactions, which a server must not do unseen: filter the data before fitting, and send what the "
            "model should read",
        )
    return inputs.selected
