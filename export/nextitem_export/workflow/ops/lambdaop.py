"""LambdaOp (merlin's UDF) and operators of one's own: their functions are traced."""

from __future__ import annotations

from typing import Any

from merlin.dag.ops.udf import UDF
from nvtabular import ops

from ..columns import LIST, Column, Table
from ..registry import Inputs, lowering, refused
from ..tracing import SymbolicColumn, SymbolicFrame, TracingError, trace


@lowering(UDF)
def lower_lambda(operator: Any, inputs: Inputs) -> Table:
    """The function, called once for each selected column."""
    frame = _symbolic(operator, inputs)
    lowered: Table = {}
    for name in inputs.names:
        arguments = (frame[name],) if operator._param_count == 1 else (frame[name], frame)
        try:
            result = trace(lambda arguments=arguments: operator.f(*arguments))
        except TracingError as error:
            raise refused(operator, [name], str(error)) from error
        lowered[name] = _column(operator, name, result, inputs)
    return lowered


@lowering(ops.Operator)
def lower_custom(operator: Any, inputs: Inputs) -> Table:
    """An operator of one's own: its transform, called with a symbolic table."""
    frame = _symbolic(operator, inputs)
    try:
        result = trace(lambda: operator.transform(inputs.selector, frame.copy()))
    except TracingError as error:
        raise refused(operator, inputs.names, str(error)) from error
    names = list(operator.column_mapping(inputs.selector))
    if not isinstance(result, (SymbolicFrame, dict)):
        raise refused(operator, inputs.names, f"its transform returned {type(result).__name__}, expected a table")
    columns = dict(result.items())
    missing = [name for name in names if name not in columns]
    if missing:
        raise refused(operator, inputs.names, f"its transform does not return {', '.join(missing)}, which its "
                      "column_mapping names")  # fmt: skip
    return {name: _column(operator, name, columns[name], inputs) for name in names}


def _symbolic(operator: Any, inputs: Inputs) -> SymbolicFrame:
    shadow = inputs.shadow()
    lists = [name for name in inputs.names if inputs.table[name].level == LIST]
    if lists:
        raise refused(operator, lists, "a function over lists is not compiled: apply it before the Groupby")
    return SymbolicFrame(
        {name: SymbolicColumn(column.expr, shadow[name]) for name, column in inputs.table.items() if name in shadow}
    )


def _column(operator: Any, name: str, result: Any, inputs: Inputs) -> Column:
    if not isinstance(result, SymbolicColumn):
        raise refused(
            operator, [name], f"it gives {type(result).__name__}, the same for every row: leave the column out"
        )
    kind = result.shadow.dtype.kind
    dtype = {"M": "datetime", "O": "string"}.get(kind, result.shadow.dtype.name)
    level = next(iter(inputs.selected.values())).level
    return Column(result.expr, level, dtype)
