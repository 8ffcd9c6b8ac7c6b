"""Compiling a fitted workflow: lowered to expressions, scheduled to a program, emitted to ONNX; and what its program reads."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx

from nextitem_bundle.runtime.features.program import Program
from nextitem_bundle.runtime.special_ids import NULL, UNKNOWN
from nextitem_bundle.runtime.wire import NULL_INT64

from .backend_choice import NUMPY, BackendChoice, choose_backend
from .emit_onnx import emit_onnx
from .emitters.lookups import is_dense
from .expressions import Column, Expr, Table, cast
from .item_values import ItemValues
from .lower import Lowered, check_column, lower_workflow
from .matching import found_value
from .registry import Context
from .schedule import FeatureOutput, schedule


@dataclasses.dataclass(frozen=True)
class CompiledWorkflow:
    """A workflow as a program; `columns` has what each output is made of."""

    columns: Table
    program: Program
    outputs: tuple[FeatureOutput, ...]
    window: int

    def to_onnx(self) -> onnx.ModelProto:
        """The graph that is served."""
        return emit_onnx(self.program, self.window)

    @property
    def backend(self) -> BackendChoice:
        """The backend that is served."""
        return choose_backend(self.program)

    def explain(self, column: str) -> Explained:
        """What the output of this name is computed from and how."""
        found = self.columns[column]
        raw, *operators = found.lineage
        keys = [arrays["keys"] for arrays in _lookups(found.expr)]
        kind = describe_mapped if self.backend.name == NUMPY else describe_lookup
        lookups = "; ".join(f"{kind(table)} of {len(table):,} keys" for table in keys)
        return Explained(column, raw, tuple(operators), lookups or "none", self.backend)


@dataclasses.dataclass(frozen=True)
class Explained:
    """What a feature is computed from and how.

    Attributes:
        column: the feature's name.
        raw: the raw column it is made from.
        operators: the workflow's operators, in order.
        lookups: the kind and size of the tables that it looks values up in, or "none".
        backend: what computes it: an ONNX graph, or the numpy program and why.
    """

    column: str
    raw: str
    operators: tuple[str, ...]
    lookups: str
    backend: BackendChoice


def compile_workflow(
    workflow: Any,
    raw_dtypes: Mapping[str, str],
    outputs: Sequence[FeatureOutput],
    *,
    session_column: str,
    tie_breaker_column: str | None,
    window: int,
    datatypes: Mapping[str, str] | None = None,
    items: Mapping[str, ItemValues] | None = None,
) -> CompiledWorkflow:
    """Compile the outputs of a fitted workflow that a model reads.

    raw_dtypes: the columns of a request with the dtype that pandas had for each at fit: `string`, `datetime`, `bool` or
    numpy's name. window: the width of every output. datatypes: the
    types on the wire, where the dtypes do not say them. items: the outputs that hold other values for items than their codes;
    the program gives the codes.
    Raises UnsupportedWorkflow with the operator, the column and the remedy.
    """
    context = Context(session_column, tie_breaker_column)
    return compile_lowered(lower_workflow(workflow, raw_dtypes, context, datatypes), outputs, context, window, items)


def compile_lowered(
    lowered: Lowered,
    outputs: Sequence[FeatureOutput],
    context: Context,
    window: int,
    items: Mapping[str, ItemValues] | None = None,
) -> CompiledWorkflow:
    """The same of a workflow whose operators are compiled."""
    columns = {output.column: lowered.column(output.column) for output in outputs}
    for name, column in columns.items():
        check_column(name, column, context)
    columns |= {name: _codes(columns[name], values) for name, values in (items or {}).items() if name in columns}
    return CompiledWorkflow(columns, schedule(columns, outputs, window), tuple(outputs), window)


def _codes(column: Column, items: ItemValues) -> Column:
    values, codes = items.keys()
    sent = values != NULL_INT64  # a request's null is no key
    null = NULL if items.known_alone else UNKNOWN
    found = found_value(cast(column.expr, "int64"), values[sent], codes[sent], UNKNOWN, null)
    return column.becomes(found, "int64")


def describe_lookup(keys: np.ndarray) -> str:
    """The kind of lookup that the graph has for these sorted keys."""
    if keys.dtype.kind == "S":
        return "hash table, strings,"
    return "dense table" if is_dense(keys) else "hash table, integers,"


def describe_mapped(keys: np.ndarray) -> str:
    """The same for the numpy program."""
    return f"table on disk, {'strings' if keys.dtype.kind == 'S' else 'integers'},"


def _lookups(expr: Expr) -> list[Mapping[str, np.ndarray]]:
    """The tables of all lookups below an expression, each once, since expressions share their parts."""
    below: dict[int, Expr] = {}
    waiting = [expr]
    while waiting:
        part = waiting.pop()
        if id(part) not in below:
            below[id(part)] = part
            waiting.extend(reversed(part.args))
    return [part.arrays for part in below.values() if "keys" in part.arrays]
