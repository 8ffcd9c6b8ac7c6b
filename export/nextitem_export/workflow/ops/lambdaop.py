"""LambdaOp (merlin's UDF) and operators of one's own: their functions are traced."""

from __future__ import annotations

from typing import Any

from merlin.dag.ops.udf import UDF
from nvtabular import ops

from ..expressions import LIST, Column, Table
from ..registry import Inputs, lowering, refused
from ..tracing import SymbolicColumn, SymbolicFrame, TracingError, trace
from ..tracing.dtypes import entering


@lowering(UDF)
def lower_lambda(operator: Any, inputs: Inputs) -> Table:
    """The function, called once for each selected column."""
    lowered: Table = {}
    for name in operator.column_mapping(inputs.selector):  # without dependencies
        try:
            result = trace(lambda name=name: _called(operator, inputs, name))
            lowered[name] = _column(name, result, inputs)
        except TracingError as error:
            raise refused(operator, [name], str(error)) from error
    return lowered


def _called(operator: Any, inputs: Inputs, name: str) -> Any:
    frame = _symbolic(inputs)
    return operator.f(frame[name]) if operator._param_count == 1 else operator.f(frame[name], frame)


@lowering(ops.Operator)
def lower_custom(operator: Any, inputs: Inputs) -> Table:
    """An operator of one's own: its transform, called with a symbolic table."""
    names = list(operator.column_mapping(inputs.selector))
    try:
        result = trace(lambda: operator.transform(inputs.selector, _symbolic(inputs)))
        if not isinstance(result, (SymbolicFrame, dict)):
            raise TracingError(f"its transform returned {type(result).__name__}, expected a table")
        columns = dict(result.items())
        missing = [name for name in names if name not in columns]
        if missing:
            raise TracingError(f"its transform does not return {', '.join(missing)}, which its column_mapping names")
        return {name: _column(name, columns[name], inputs) for name in names}
    except TracingError as error:
        raise refused(operator, inputs.names, str(error)) from error


def _symbolic(inputs: Inputs) -> SymbolicFrame:
    """The operator's table: what a request has of it, one value an interaction or a session."""
    reason = "which no request has: compute the column before the workflow and send it"
    absent = {inputs.context.session_column: reason}
    if inputs.context.tie_breaker_column is not None:
        absent[inputs.context.tie_breaker_column] = reason
    lists = {name for name, column in inputs.table.items() if column.level == LIST}
    absent |= dict.fromkeys(lists, "a list: apply the function before the Groupby")
    return SymbolicFrame(
        {
            name: SymbolicColumn(*entering(column.expr, column.dtype), name)
            for name, column in inputs.table.items()
            if name not in absent
        },
        absent,
    )


def _column(name: str, result: Any, inputs: Inputs) -> Column:
    if not isinstance(result, SymbolicColumn):
        raise TracingError(
            f"it gives {type(result).__name__} for '{name}', the same for every row: leave the column out"
        )
    kind = result.shadow.dtype.kind
    dtype = {"M": "datetime", "O": "string"}.get(kind, result.shadow.dtype.name)
    level = next(iter(inputs.selected.values())).level
    return Column(result.expr, level, dtype)
