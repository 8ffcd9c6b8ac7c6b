"""From a fitted workflow to expressions: each operator by its own file in `ops`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import pandas as pd
from merlin.dag.executors import LocalExecutor

from . import ops as _operators  # noqa: F401  registers them
from .columns import INTERACTION, Column, Table
from .expressions import cast, raw
from .registry import Context, Inputs, lower_operator

_WIRE = {"string": "string", "datetime": "int64", "bool": "int64"}


def lower_workflow(workflow: Any, raw_dtypes: Mapping[str, str], context: Context, sample: pd.DataFrame) -> Table:
    """The columns of a fitted workflow's output.

    raw_dtypes: the raw columns that a request has, with the dtype that pandas had for each when the workflow was fitted:
    `string`, `datetime`, `bool` or numpy's name. sample: some raw rows, on which functions are traced.
    Raises UnsupportedWorkflow with the operator, the columns and what to do, where something cannot be compiled.
    """
    return _Lowering(raw_dtypes, context, sample).table(workflow.output_node)


class _Lowering:
    def __init__(self, raw_dtypes: Mapping[str, str], context: Context, sample: pd.DataFrame) -> None:
        self._sample = sample
        self._context = context
        self._tables: dict[int, Table] = {}
        self._raw = {name: _raw_column(name, dtype) for name, dtype in raw_dtypes.items()}
        for name in (context.session_column, context.tie_breaker_column):
            if name is not None:  # only the Groupby reads them, and a request has neither
                self._raw[name] = _raw_column(name, "int64")

    def table(self, node: Any) -> Table:
        """The output columns of a node; each node once."""
        if id(node) not in self._tables:
            self._tables[id(node)] = self._lower(node)
        return self._tables[id(node)]

    def _lower(self, node: Any) -> Table:
        upstream: Table = {}
        for parent in node.parents_with_dependencies:
            upstream.update(self.table(parent))
        for name in {*node.input_schema.column_names, *node.dependency_columns.names} - set(upstream):
            upstream[name] = self._raw[name]
        if node.op is None:
            return upstream
        selector = node.input_columns.resolve(node.input_schema)
        lowered = lower_operator(node.op, Inputs(selector, upstream, self._context, lambda: self._shadow(node)))
        sources = node.op.column_mapping(selector)
        return {
            name: dataclasses.replace(column, trail=_trail(node.op, upstream, sources.get(name, [name])))
            for name, column in lowered.items()
        }

    def _shadow(self, node: Any) -> pd.DataFrame:
        """What enters a node for the sample, by NVTabular's own executor."""
        parts = [LocalExecutor().transform(self._sample.copy(), [parent]) for parent in node.parents_with_dependencies]
        entering = pd.concat([*parts, self._sample], axis=1)
        return entering.loc[:, ~entering.columns.duplicated()]


def _raw_column(name: str, dtype: str) -> Column:
    if dtype in _WIRE:
        return Column(raw(name, _WIRE[dtype]), INTERACTION, dtype, trail=(name,))
    if dtype.startswith("float"):
        return Column(cast(raw(name, "float32"), dtype), INTERACTION, dtype, trail=(name,))
    return Column(raw(name, "int64"), INTERACTION, dtype, trail=(name,))


_SILENT = {"ConcatColumns", "SelectionOp", "SubsetColumns", "SubtractionOp", "Rename"}


def _trail(operator: Any, table: Table, sources: Any) -> tuple[str, ...]:
    names = [sources] if isinstance(sources, str) else list(sources)
    before = table[names[0]].trail if names and names[0] in table else tuple(map(str, names))
    label = type(operator).__name__
    return before if label in _SILENT else (*before, label)
