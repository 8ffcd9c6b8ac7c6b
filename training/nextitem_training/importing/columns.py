"""What a fitted workflow, made by hand, says of its columns; the operators are known by their names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from nextitem_training.errors import CheckpointError


@dataclass(frozen=True)
class WorkflowColumns:
    """The columns of a workflow.

    session, time: of the Groupby. tie_breaker: the input that only orders interactions of the same time, empty where there
    is none.
    """

    session: str
    time: str
    tie_breaker: str


def workflow_columns(workflow: Any, tie_breaker: str = "") -> WorkflowColumns:
    """Reads the columns of the Groupby. Raises CheckpointError where it makes no sessions, or does not sort them."""
    groupbys = [node.op for node in _nodes(workflow.output_node) if type(node.op).__name__ == "Groupby"]
    keys = {tuple(op.groupby_cols) for op in groupbys}
    if len(keys) != 1 or len(next(iter(keys))) != 1:
        raise CheckpointError(
            f"The workflow groups by {sorted(keys) or 'nothing'}, expected is one Groupby by one session column: give the "
            "workflow that makes sessions of interactions."
        )
    sort = list(groupbys[0].sort_cols or ())
    if not sort:
        raise CheckpointError(
            "The workflow's Groupby sorts by nothing, expected is a column of times in its sort_cols."
        )
    if tie_breaker and tie_breaker not in workflow.input_schema.column_names:
        raise CheckpointError(
            f"--tie-breaker is '{tie_breaker}', which the workflow does not read; it reads "
            f"{', '.join(workflow.input_schema.column_names)}."
        )
    return WorkflowColumns(next(iter(keys))[0], sort[0], tie_breaker)


def source(workflow: Any, output: str, *, encoded: bool = False) -> str:
    """The raw column behind an output; with `encoded`, its name where Categorify encodes it."""
    name = output
    for node, name in _lineage(workflow, output):  # noqa: B007
        if encoded and type(node.op).__name__ == "Categorify":
            break
    return name


def window(workflow: Any, output: str) -> int | None:
    """The interactions of a session that the output keeps, None where nothing slices it."""
    slices = [node.op for node, _ in _lineage(workflow, output) if type(node.op).__name__ == "ListSlice"]
    return min((int(op.max_elements) for op in slices), default=None)


def _lineage(workflow: Any, output: str) -> Iterator[tuple[Any, str]]:
    """The nodes behind an output from last to first, each with the name of the column that enters it."""
    node, name = workflow.output_node, output
    while node is not None:
        mapping = node.op.column_mapping(node.input_columns) if node.op else {name: [name]}
        sources = mapping.get(name, [name])
        name = sources[0] if len(sources) == 1 else name
        yield node, name
        node = next((p for p in node.parents_with_dependencies if name in p.output_columns.names), None)


def _nodes(output_node: Any) -> list[Any]:
    found = [output_node]
    for node in found:
        found.extend(p for p in node.parents_with_dependencies if all(p is not f for f in found))
    return found
