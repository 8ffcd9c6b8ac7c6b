"""From a fitted workflow to expressions: each operator by its own file in `ops`.

Features made from columns that training has and no request carries, the session's id and the tie-breaker, are refused.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from merlin.dag import ColumnSelector
from merlin.dag.ops.concat_columns import ConcatColumns
from nvtabular import ops

from .._errors import UnsupportedWorkflow
from . import ops as _operators  # noqa: F401  registers them
from .expressions import INTERACTION, Column, Expr, Table, cast, raw
from .fitted import dtype_name
from .registry import Context, Inputs, lower_operator, name_of

_WIRE = {"string": "string", "datetime": "int64", "bool": "int64"}
_DATATYPES = {"BYTES": "string", "INT64": "int64", "FP32": "float32"}


@dataclasses.dataclass(frozen=True)
class Lowered:
    """The columns of a workflow's output, and those that cannot be compiled with the reason."""

    table: Table
    refused: Mapping[str, UnsupportedWorkflow]

    def column(self, name: str) -> Column:
        """An output column. Raises UnsupportedWorkflow with the operator, the column and the remedy."""
        if name in self.refused:
            raise self.refused[name]
        if name not in self.table:
            known = ", ".join(self.table)
            raise UnsupportedWorkflow(f"the workflow does not return '{name}'; it returns {known}")
        return self.table[name]


def lower_workflow(
    workflow: Any,
    raw_dtypes: Mapping[str, str],
    context: Context,
    datatypes: Mapping[str, str] | None = None,
) -> Lowered:
    """The columns of a fitted workflow's output.

    What cannot be compiled is refused column by column: an output that no model reads stops nothing.

    raw_dtypes: the raw columns that a request has, with the dtype that pandas had for each when the workflow was fitted:
    `string`, `datetime`, `bool` or numpy's name. datatypes: the
    type on the wire where the dtype does not say it (integers with null are float64 in pandas).
    """
    raw_columns = {name: _raw_column(name, dtype, (datatypes or {}).get(name)) for name, dtype in raw_dtypes.items()}
    unsent = {column.name: dtype_name(column) for column in workflow.input_schema if column.name not in raw_columns}
    return _Lowering(raw_columns, unsent, context).lowered(workflow.output_node)


class _Lowering:
    def __init__(self, raw_columns: Table, unsent: Mapping[str, str], context: Context) -> None:
        self._context = context
        self._nodes: dict[int, Lowered] = {}
        self._raw = dict(raw_columns)
        for name in (context.session_column, context.tie_breaker_column):
            if name is not None:  # a request has neither: `check_column` refuses what is made of them
                self._raw[name] = _raw_column(name, unsent.get(name, "int64"), None)

    def lowered(self, node: Any) -> Lowered:
        """The output columns of a node; each node once."""
        if id(node) not in self._nodes:
            self._nodes[id(node)] = self._lower(node)
        return self._nodes[id(node)]

    def _lower(self, node: Any) -> Lowered:
        upstream: Table = {}
        refused: dict[str, UnsupportedWorkflow] = {}
        for parent in node.parents_with_dependencies:
            found = self.lowered(parent)
            upstream.update(found.table)
            refused.update(found.refused)
        for name in {*node.input_schema.column_names, *node.dependency_columns.names} - {*upstream, *refused}:
            upstream[name] = self._raw[name]
        if node.op is None:
            return Lowered(upstream, refused)
        selector = node.input_columns.resolve(node.input_schema)
        return self._lower_groups(node, selector, upstream, refused)

    def _lower_groups(self, node: Any, selector: Any, upstream: Table, refused: Mapping[str, Any]) -> Lowered:
        """All selected columns at once; where the operator refuses, each by itself, to find out which."""
        sources = node.op.column_mapping(selector)
        # What stands on the right of a `+` is a dependency, too, but nothing on its left needs it.
        needed = [] if isinstance(node.op, ConcatColumns) else list(node.dependency_columns.names)
        needed = [name for name in needed if name in refused]
        groups = [group for group in selector.grouped_names if not needed and not _refused_in(group, refused)]
        errors: dict[str, UnsupportedWorkflow] = {}
        try:
            table, errors = self._lower_selection(node, groups, upstream) if groups else ({}, {})
        except UnsupportedWorkflow as error:
            table, errors = self._one_by_one(node, groups, upstream, error)
        first_refused = next((refused[name] for name in needed), None)
        for name, behind in sources.items():
            if name not in table:
                cause = (
                    errors.get(name) or first_refused or next((refused[n] for n in _flat(behind) if n in refused), None)
                )
                cause = cause or next((errors[n] for n in _flat(behind) if n in errors), None)
                cause = cause or next(iter(errors.values()), None)  # a joined column comes from no selected one
                if cause is not None:
                    errors[name] = cause
        lineages = {name: _lineage(node.op, upstream, sources.get(name, [name])) for name in table}
        table = {name: dataclasses.replace(column, lineage=lineages[name]) for name, column in table.items()}
        return Lowered(table, {name: error for name, error in errors.items() if name in sources})

    def _one_by_one(
        self, node: Any, groups: list[Any], upstream: Table, whole: UnsupportedWorkflow
    ) -> tuple[Table, dict[str, UnsupportedWorkflow]]:
        table: Table = {}
        errors: dict[str, UnsupportedWorkflow] = {}
        for group in groups:
            try:
                found, reasons = self._lower_selection(node, [group], upstream)
                table.update(found)
                errors.update(reasons)
            except UnsupportedWorkflow as error:
                errors.update(dict.fromkeys(_flat(group), whole if len(groups) == 1 else error))
        return table, errors

    def _lower_selection(
        self, node: Any, groups: list[Any], upstream: Table
    ) -> tuple[Table, dict[str, UnsupportedWorkflow]]:
        found = lower_operator(node.op, Inputs(ColumnSelector(groups), upstream, self._context))
        table = {name: column for name, column in found.items() if isinstance(column, Column)}
        return table, {name: error for name, error in found.items() if isinstance(error, UnsupportedWorkflow)}


def _raw_column(name: str, dtype: str, datatype: str | None) -> Column:
    wire = (
        _DATATYPES[datatype] if datatype else _WIRE.get(dtype) or ("float32" if dtype.startswith("float") else "int64")
    )
    expr = raw(name, wire)
    return Column(cast(expr, dtype) if dtype.startswith("float") else expr, INTERACTION, dtype, lineage=(name,))


def _flat(group: Any) -> list[str]:
    return [group] if isinstance(group, str) else [name for part in group for name in _flat(part)]


def _refused_in(group: Any, refused: Mapping[str, Any]) -> bool:
    return any(name in refused for name in _flat(group))


_SILENT = {"ConcatColumns", "SelectionOp", "SubsetColumns", "SubtractionOp", "Rename"}


def _lineage(operator: Any, table: Table, sources: Any) -> tuple[str, ...]:
    names = _flat(sources)
    before = table[names[0]].lineage if names and names[0] in table else tuple(names)
    label = name_of(operator)
    return before if label in _SILENT else (*before, label)


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
    _refuse(output, {str(part.attributes["name"]) for part in below.values() if part.op == "raw"}, context)


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
