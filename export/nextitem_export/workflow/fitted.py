"""A fitted `nvtabular.Workflow`, read: its session key, sort, window, columns and vocabularies.

The one module of the exporter that imports nvtabular (the runtime's `features.nvtabular` is the other, and only in
bundles that ask for it).
"""

from __future__ import annotations

import copy
import dataclasses
import functools
from pathlib import Path
from typing import Any, cast

import numpy as np
import nvtabular
import pandas as pd
from merlin.dag import ops as dag_ops
from nvtabular import ops

from nextitem_bundle.runtime.features.nvtabular import every_session, serving_form, with_plain_sessions
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from .._errors import UnsupportedWorkflow
from ..wire import for_nvtabular

NEVER_ENDS = int(np.iinfo(np.int64).max)  # ListSlice's end where none was given


_KEEPS_VALUES = {
    "AddMetadata", "AddTags", "ConcatColumns", "Filter", "Groupby", "ListSlice", "ReduceDtypeSize", "Rename", "SelectionOp",
    "SubsetColumns", "SubtractionOp", "ValueCount",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Vocabulary:
    """The values that a categorical output was fitted on.

    values: raw values [V - 3] of the raw column `column`, by code from 3. counts: their training interactions,
    int64 [V - 3].
    """

    column: str
    values: np.ndarray
    counts: np.ndarray

    @property
    def cardinality(self) -> int:
        """V: the number of codes, padding, null and unknown included."""
        return FIRST_ITEM + len(self.values)


@dataclasses.dataclass(frozen=True)
class OutputColumn:
    """An output of the workflow: one list of `dtype` a session."""

    name: str
    dtype: str


class FittedWorkflow:
    """Reads a fitted workflow. Raises UnsupportedWorkflow where it cannot give one answer per session."""

    def __init__(self, workflow: nvtabular.Workflow) -> None:
        if workflow.output_schema is None or not workflow.output_schema.column_names:
            raise UnsupportedWorkflow("the workflow was never fitted: call workflow.fit(dataset) before the export")
        self.workflow = workflow
        groupbys = [n for n in _nodes(workflow.output_node) if isinstance(n.op, ops.Groupby)]
        keys = {tuple(node.op.groupby_cols) for node in groupbys}
        if len(keys) != 1 or len(next(iter(keys))) != 1:
            raise UnsupportedWorkflow(
                f"the workflow groups by {sorted(keys) or 'nothing'}, expected one Groupby by one session column: "
                "group interactions into sessions with ops.Groupby(groupby_cols=['session_id'], …)"
            )
        self.session_column: str = next(iter(keys))[0]
        self.sort_columns: tuple[str, ...] = tuple(groupbys[0].op.sort_cols)
        self.raw_columns = {column.name: dtype_name(column) for column in workflow.input_schema}
        self.outputs = {
            column.name: OutputColumn(column.name, np.dtype(column.dtype.to_numpy).name)
            for column in workflow.output_schema
            if column.is_list
        }

    def window(self, output: str, *, keep_oldest: bool) -> int | None:
        """Interactions of a session that the output keeps; None where nothing slices it.

        Raises UnsupportedWorkflow if a ListSlice keeps the oldest interactions and `keep_oldest` is not set.
        """
        slices = [node.op for node, _ in self._lineage(output) if isinstance(node.op, ops.ListSlice)]
        for op in slices:
            if (op.start >= 0 or op.end != NEVER_ENDS) and not keep_oldest:
                end = "" if op.end == NEVER_ENDS else f", {op.end}"
                raise UnsupportedWorkflow(
                    f"ListSlice({op.start}{end}) on '{output}' does not keep the newest interactions of long sessions, "
                    f"which a recommendation needs: fit the workflow with ListSlice(-{op.max_elements}), or export "
                    "with ExportOptions(keep_workflow_window=True) to serve it as it is"
                )
        return min((op.max_elements for op in slices), default=None)

    def vocabulary(self, output: str) -> Vocabulary:
        """The vocabulary of a categorical output, read from the file that Categorify fitted.

        Raises UnsupportedWorkflow if no Categorify of a single raw column stands behind the output, or if the
        vocabulary holds a value that means null in a request.
        """
        lineage = self._lineage(output)
        for position, (node, column) in enumerate(lineage):
            if isinstance(node.op, ops.Categorify):
                vocabulary = self._read_vocabulary(node.op, column, output)
                return dataclasses.replace(vocabulary, column=_before_renaming(lineage[position:]))
        raise UnsupportedWorkflow(
            f"no Categorify stands behind the workflow's output '{output}': encode the item column with "
            "ops.Categorify() so that its codes can be turned back into raw ids, or, where the raw ids are the rows of the "
            "model's own table, export with the option item_codes 'as-is'"
        )

    def encoded_outputs_of(self, column: str) -> list[str]:
        """The list outputs that hold the codes of this raw column."""
        return [name for name in self.outputs if column in self._encoded(name)]

    def plain_outputs_of(self, column: str) -> list[str]:
        """The list outputs that are made of this raw column without a Categorify."""
        return [name for name in self.outputs if not self._encoded(name) and self._lineage(name)[-1][1] == column]

    def changed_by(self, output: str) -> str:
        """What stands behind an output and may change its codes, for people: `Categorify, LambdaOp`, from first to last."""
        names = [type(node.op).__name__ for node, _ in reversed(self._lineage(output)) if node.op is not None]
        names = ["LambdaOp" if name == "UDF" else name for name in names]
        return ", ".join(name for name in names if name not in _KEEPS_VALUES)

    def transform(self, frame: pd.DataFrame) -> pd.DataFrame:
        """`workflow.transform` on raw interactions, sessions by their raw ids; the index is reset, since NVTabular reads it."""
        return self._by_raw_session.transform(for_nvtabular(frame.reset_index(drop=True)))

    def transform_all(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The same without a Filter that drops sessions; where NVTabular raises, on null, in its serving form."""
        frame = for_nvtabular(frame.reset_index(drop=True))
        try:
            return self._every_session.transform(frame.copy())
        except Exception:  # noqa: BLE001  NVTabular raises what pandas raised
            return serving_form(self.workflow).transform(frame)

    @functools.cached_property
    def _every_session(self) -> nvtabular.Workflow:
        return every_session(self.workflow)

    @functools.cached_property
    def _by_raw_session(self) -> nvtabular.Workflow:
        return with_plain_sessions(self.workflow)

    def save(self, folder: Path) -> None:
        """Write the workflow as `nvtabular.Workflow.save` does: a pickle."""
        # A copy, because saving makes the operators read their vocabularies from `folder` from then on.
        copy.deepcopy(self.workflow).save(str(folder))

    def _lineage(self, output: str) -> list[tuple[Any, str]]:
        """The nodes behind an output from last to first, each with the name of the column that enters it."""
        path, node, name = [], self.workflow.output_node, output
        while node is not None:
            mapping = node.op.column_mapping(node.input_columns) if node.op else {name: [name]}
            sources = mapping.get(name, [name])
            name = sources[0] if len(sources) == 1 else name
            path.append((node, name))
            node = next((p for p in node.parents_with_dependencies if name in p.output_columns.names), None)
        return path

    def encodes(self, output: str) -> bool:
        """Whether a Categorify stands behind an output."""
        return bool(self._encoded(output))

    def _encoded(self, output: str) -> list[str]:
        """The columns that a Categorify behind the output encodes."""
        lineage = self._lineage(output)
        places = [place for place, (node, _) in enumerate(lineage) if isinstance(node.op, ops.Categorify)]
        return [_before_renaming(lineage[place:]) for place in places]

    def _read_vocabulary(self, op: ops.Categorify, column: str, output: str) -> Vocabulary:
        storage = op.storage_name.get(column, column) if op.encode_type == "joint" else column
        table = pd.read_parquet(op.categories[storage])
        if storage not in table.columns:
            together = [name for name in table.columns if name != f"{storage}_size"]
            raise UnsupportedWorkflow(
                f"the Categorify behind '{output}' encodes {together} together, expected one raw column: encode each "
                "in a Categorify of its own"
            )
        if len(table) and table.index.to_numpy()[0] < FIRST_ITEM:
            table.index += FIRST_ITEM
        codes = table.index.to_numpy()
        if not np.array_equal(codes, np.arange(FIRST_ITEM, FIRST_ITEM + len(codes))):
            raise UnsupportedWorkflow(
                f"the vocabulary of '{column}' has the codes {codes[:3].tolist()} … {codes[-1:].tolist()}, expected "
                f"every code from {FIRST_ITEM} on once: Categorify with num_buckets or single_table cannot be turned "
                "back into raw ids; encode the item column with a Categorify of its own"
            )
        values = _raw_values(cast("pd.Series", table[storage]), column)
        size = f"{storage}_size"
        counts = table[size].to_numpy(np.int64) if size in table.columns else np.ones(len(table), dtype=np.int64)
        return Vocabulary(column, values, counts)


def _before_renaming(lineage: list[tuple[Any, str]]) -> str:
    """The name, before all Rename, of the column that enters the first node of the lineage."""
    name = lineage[0][1]
    for node, source in lineage[1:]:
        if isinstance(node.op, (ops.Rename, dag_ops.Rename)):
            name = source
    return name


def _raw_values(series: pd.Series, column: str) -> np.ndarray:
    if series.dtype == object or isinstance(series.dtype, pd.StringDtype):
        values = series.to_numpy(dtype=object)
        forbidden = NULL_STRING
        others = [value for value in values if not isinstance(value, str)]
        if others:
            raise UnsupportedWorkflow(
                f"the vocabulary of '{column}' holds {others[0]!r}, a {type(others[0]).__name__}, expected strings or "
                "integers: turn the column into strings before fitting"
            )
        unsendable = [value for value in values if "\0" in value]
        if unsendable:
            raise UnsupportedWorkflow(
                f"the vocabulary of '{column}' holds {unsendable[0]!r} with a NUL character, which no request may send: "
                "take it out of the column before fitting"
            )
    else:
        values = series.to_numpy()
        if not np.array_equal(values, values.astype(np.int64)):
            raise UnsupportedWorkflow(
                f"the vocabulary of '{column}' holds {values.dtype} values that are no integers, expected strings or "
                "integers: turn the column into strings before fitting"
            )
        values, forbidden = values.astype(np.int64), NULL_INT64
    if (values == forbidden).any():
        raise UnsupportedWorkflow(
            f"the vocabulary of '{column}' holds {forbidden!r}, which means null in a request: turn it into null "
            "before fitting"
        )
    return values


def dtype_name(column: Any) -> str:
    """`string`, `datetime` or numpy's name of the dtype that the column had when the workflow was fitted."""
    if column.is_list:
        raise UnsupportedWorkflow(
            f"the raw column '{column.name}' is a list, expected one value per interaction: explode it before fitting"
        )
    name = column.dtype.name
    if name.startswith("datetime"):
        return "datetime"
    return "string" if name in ("string", "str", "object", "unknown") else name


def _nodes(output_node: Any) -> list[Any]:
    found = [output_node]
    for node in found:
        found.extend(p for p in node.parents_with_dependencies if all(p is not f for f in found))
    return found
