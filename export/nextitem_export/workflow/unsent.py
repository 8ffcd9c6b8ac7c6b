"""Features made from columns that training has and no request carries: the session's id and the tie-breaker."""

from __future__ import annotations

from typing import Any

from merlin.dag.ops.concat_columns import ConcatColumns
from nvtabular import ops

from .._errors import UnsupportedWorkflow
from .columns import Column
from .expressions import Expr
from .registry import Context


def check_sources(workflow: Any, output: str, context: Context) -> None:
    """Raise UnsupportedWorkflow where an output of the workflow is made from such a column, as its operators say."""
    _refuse(output, _sources(workflow.output_node, output), context)


def check_column(output: str, column: Column, context: Context) -> None:
    """The same for a lowered output, whose expressions know what operators of one's own read."""
    waiting, below = [column.expr, *column.sort], dict[int, Expr]()
    while waiting:
        part = waiting.pop()
        if id(part) not in below:
            below[id(part)] = part
            waiting.extend(part.args)
    _refuse(output, {part.settings["name"] for part in below.values() if part.op == "raw"}, context)


def _refuse(output: str, sources: set[str], context: Context) -> None:
    if context.session_column in sources:
        raise UnsupportedWorkflow(
            f"the workflow's output '{output}' is made from the session column '{context.session_column}', which no request "
            "carries: join or compute it before fitting, so that each interaction has it in a column that is sent, or leave it "
            "out of the model's features"
        )
    if context.tie_breaker_column in sources:
        raise UnsupportedWorkflow(
            f"the workflow's output '{output}' is made from the tie-breaker column '{context.tie_breaker_column}', which no "
            "request carries: copy it to a column of another name before fitting, which is sent then, or leave it out of the "
            "model's features"
        )


def _sources(node: Any, name: str) -> set[str]:
    """The raw columns that a column of this node is made from; what only sorts or groups makes nothing."""
    if node.op is None:
        return _of_parents(node, {name})
    selector = node.input_columns.resolve(node.input_schema)
    behind = set(node.op.column_mapping(selector).get(name, [name]))
    if isinstance(node.op, ops.JoinExternal) and name not in selector.names:
        behind = {node.op.on} if isinstance(node.op.on, str) else set(node.op.on)
    elif not isinstance(node.op, (ops.Groupby, ConcatColumns)):
        behind |= set(node.dependency_columns.names)
    return _of_parents(node, behind)


def _of_parents(node: Any, names: set[str]) -> set[str]:
    found: set[str] = set()
    for name in names:
        parent = next((p for p in node.parents_with_dependencies if name in p.output_columns.names), None)
        found |= {name} if parent is None else _sources(parent, name)
    return found
