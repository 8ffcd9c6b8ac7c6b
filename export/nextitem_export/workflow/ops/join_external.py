"""JoinExternal: the columns of another table, by its keys."""

from __future__ import annotations

from typing import Any, cast

from nvtabular import ops

from ..._errors import UnsupportedWorkflow
from ..expressions import INTERACTION, Column
from ..matching import Rows, joined_column
from ..registry import Inputs, lowering, refused


@lowering(ops.JoinExternal)
def lower(operator: ops.JoinExternal, inputs: Inputs) -> dict[str, Column | UnsupportedWorkflow]:
    """Null where the other table has no such key; null is a key where a row has it, as to pandas."""
    on, on_ext = _listed(operator.on), _listed(operator.on_ext)
    _check(operator, inputs, on)
    table = cast("Any", operator._ext)  # pandas' or dask's
    table = table.compute() if hasattr(table, "compute") else table
    columns = [inputs.table[name] for name in on]
    rows = Rows(operator, on, columns, table[on_ext])
    joined: dict[str, Column | UnsupportedWorkflow] = dict(inputs.selected)
    for name in table.columns:
        if name in on and name in on_ext and on.index(name) == on_ext.index(name):
            continue  # the key itself
        if name in joined:
            joined[name] = refused(
                operator, [name], "both tables have the column, and pandas gives each another name: rename one"
            )
            continue
        column = joined_column(rows, table[name], columns[0])
        joined[name] = column or refused(
            operator,
            [name],
            f"the joined table holds {table[name].dtype} values that are neither numbers, strings nor date-times: leave the "
            "column out with columns_ext",
        )
    return joined


def _check(operator: Any, inputs: Inputs, on: list[str]) -> None:
    if operator.how != "left":
        raise refused(operator, on, f"how='{operator.how}' drops interactions that the other table does not know, which a "
                      "server must not do unseen: join with how='left' and fill null")  # fmt: skip
    missing = [name for name in on if name not in inputs.table]
    if missing:
        raise refused(operator, missing, "it joins on a column that it is not given: select it as well")
    if any(inputs.table[name].level != INTERACTION for name in on):
        raise refused(operator, on, "it joins to lists or sessions: join before the Groupby")


def _listed(names: str | list[str]) -> list[str]:
    return [names] if isinstance(names, str) else list(names)
