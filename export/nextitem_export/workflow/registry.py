"""Which NVTabular operators are compiled, by whom, and which are refused, why."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from merlin.dag.ops.udf import UDF

from .._errors import UnsupportedWorkflow
from .expressions import Column, Table


@dataclasses.dataclass(frozen=True)
class Context:
    """What the workflow's operators may need to know of the whole."""

    session_column: str
    tie_breaker_column: str | None


@dataclasses.dataclass(frozen=True)
class Inputs:
    """What one operator is given: `selector`, merlin's ColumnSelector of the columns it works on, out of `table`."""

    selector: Any
    table: Table
    context: Context

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the selected columns."""
        return tuple(self.selector.names)

    @property
    def selected(self) -> Table:
        """The selected columns, in order."""
        return {name: self.table[name] for name in self.names}


#: From an operator and its input columns to the output columns, or why one of them cannot be compiled.
Lowering = Callable[[Any, Inputs], Mapping[str, "Column | UnsupportedWorkflow"]]

LOWERINGS: dict[type, Lowering] = {}
REFUSALS: dict[type, str] = {}
#: The same for classes of packages that the exporter does not import, by `module.Class`.
NAMED: dict[str, Lowering] = {}


def lowering(*operators: type) -> Callable[[Lowering], Lowering]:
    """Register how operators of these classes are compiled. Raises ValueError if one is registered already."""

    def register(function: Lowering) -> Lowering:
        for operator in operators:
            _claim(operator)
            LOWERINGS[operator] = function
        return function

    return register


def lowering_by_name(qualified_name: str) -> Callable[[Lowering], Lowering]:
    """Register how operators of the class `module.Class` are compiled. Raises ValueError if it is registered already."""

    def register(function: Lowering) -> Lowering:
        if qualified_name in NAMED:
            raise ValueError(f"{qualified_name} is registered already")
        NAMED[qualified_name] = function
        return function

    return register


def refuse(operator: type, reason: str) -> None:
    """Register why operators of this class cannot be compiled and what to do instead."""
    _claim(operator)
    REFUSALS[operator] = reason


def _claim(operator: type) -> None:
    if operator in LOWERINGS or operator in REFUSALS:
        raise ValueError(f"{operator.__name__} is registered already")


def lower_operator(operator: Any, inputs: Inputs) -> Mapping[str, Column | UnsupportedWorkflow]:
    """Compile one operator.

    Raises UnsupportedWorkflow with the operator, the columns and the remedy; gives it in the place of a column where the
    others can be compiled.
    """
    for base in type(operator).__mro__:
        if base in LOWERINGS:
            return LOWERINGS[base](operator, inputs)
        named = NAMED.get(f"{base.__module__}.{base.__qualname__}")
        if named is not None:
            return named(operator, inputs)
        if base in REFUSALS:
            raise refused(operator, inputs.names, REFUSALS[base])
    raise refused(
        operator,
        inputs.names,
        "the compiler does not know it; serve the workflow with ExportOptions(features='nvtabular')",
    )


def refused(operator: Any, columns: Sequence[str], reason: str) -> UnsupportedWorkflow:
    """The error for an operator on columns."""
    listed = ", ".join(f"'{name}'" for name in columns)
    return UnsupportedWorkflow(f"{name_of(operator)} on {listed} cannot be compiled: {reason}")


def name_of(operator: Any) -> str:
    """What NVTabular calls an operator of this class."""
    return "LambdaOp" if type(operator) is UDF else type(operator).__name__
