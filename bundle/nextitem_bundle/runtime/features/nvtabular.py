"""The features step that runs the fitted NVTabular Workflow itself (`--features nvtabular`).

Slow (tens of milliseconds a request, more with large vocabularies) and pickled, so it is only there when asked for by
name. The workflow is the one of training but for what would break the contract, see `serving_form`.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import nvtabular  # pyright: ignore[reportMissingTypeStubs]
import pandas as pd  # pyright: ignore[reportMissingTypeStubs]

from ..item_index import VALUES, ItemIndex
from ..request import Array, Request
from ..special_ids import NULL
from ..step import OwnProcess
from ..steps import NvtabularFeatures
from ..wire import NULL_INT64, NULL_STRING
from . import FeaturesStep

_nvt: Any = nvtabular
_pd: Any = pd

_EXACT_IN_FLOAT64 = 2**53


class NvtabularEncoder:
    """Encodes raw sessions with the workflow of `settings`.

    item_values: from what the workflow gives for
    items to their codes; None where it gives the codes.
    """

    def __init__(self, workflow: Any, settings: NvtabularFeatures, item_values: ItemIndex | None = None) -> None:
        self._workflow = serving_form(workflow)
        self._item_values, self._items = item_values, settings.codes
        self._signature = settings.signature
        self._features = settings.features
        self._columns = settings.columns
        self._session_column = settings.session_column
        self._session_dtype = settings.session_dtype
        self._tie_breaker = settings.tie_breaker_column
        self.outputs = tuple(feature.tensor for feature in self._features)

    def __call__(self, request: Request) -> dict[str, Array]:
        """One tensor [B, window] per model feature, padded on the right with 0."""
        encoded = {
            feature.tensor: np.zeros((len(request.lengths), self._signature.window), dtype=feature.dtype)
            for feature in self._features
        }
        if request.lengths.any():
            self._fill(encoded, request)
        return encoded

    def _fill(self, encoded: dict[str, Array], request: Request) -> None:
        table = self._workflow.transform(self._frame(request))
        present = np.flatnonzero(request.lengths)
        rows = _rows(table, self._session_column, present, stand_ins(present, self._session_dtype))
        for feature in self._features:
            target = encoded[feature.tensor]
            for row, values in zip(rows, table[feature.name], strict=True):
                newest = np.asarray(values)[-target.shape[1] :]
                if self._item_values is not None and feature.tensor == self._items:
                    newest = self._item_values.codes(_whole(newest))
                target[row, : len(newest)] = newest

    def _frame(self, request: Request) -> Any:
        sessions = request.sessions
        columns: dict[str, Any] = {self._session_column: stand_ins(sessions, self._session_dtype)}
        if self._tie_breaker is not None:
            columns[self._tie_breaker] = np.arange(len(sessions))
        for feature in self._signature.features:
            values = request.columns[feature.name]
            columns[feature.name] = pandas_column(values, feature.kind, self._columns[feature.name])
        return _pd.DataFrame(columns)


def pandas_column(values: Array, kind: str, dtype: str) -> Any:
    """The column as it stood in training's table, wire nulls as pandas' own."""
    if kind == "string":
        return _pd.Series([None if value == NULL_STRING else value for value in values], dtype=object)
    if kind == "datetime":
        return _pd.Series(values.view("datetime64[ns]"))  # NaT is the smallest int64
    if kind == "float":
        return _pd.Series(values.astype(dtype))
    null = values == NULL_INT64
    if not null.any():
        narrow = values.astype(dtype)
        # A value beyond training's narrower type would turn into another one: int64 keeps it, and it is unknown.
        exact = kind == "boolean" or np.array_equal(narrow.astype(np.int64), values)
        return _pd.Series(narrow if exact else values)
    if kind == "boolean":
        return _pd.Series([None if value == NULL_INT64 else bool(value) for value in values], dtype=object)
    # pandas has no integer null: the column turns into float64, where that holds every value exactly.
    if np.abs(values[~null]).max(initial=0) <= _EXACT_IN_FLOAT64:
        return _pd.Series(np.where(null, np.nan, values))
    return _pd.Series([None if value == NULL_INT64 else int(value) for value in values], dtype=object)


def _whole(values: Array) -> Array:
    """int64; integers with null are floats to pandas."""
    if values.dtype.kind != "f":
        return values.astype(np.int64)
    null = np.isnan(values)
    return np.where(null, NULL_INT64, np.where(null, 0, values).astype(np.int64))


def stand_ins(rows: Array, dtype: str) -> Array:
    """Ids for sessions, which a request does not have, of training's type and in the order of the request's rows.

    A join needs the type, though what it finds by them is nothing: no feature of a model may be made from them.
    """
    if dtype == "string":
        return np.array([f"{row:09d}" for row in rows] + [None], dtype=object)[:-1]
    if dtype == "datetime":
        return rows.astype("datetime64[ns]")
    return rows.astype("float64" if dtype.startswith("float") else "int64")


def _rows(table: Any, session_column: str, present: Array, stand_ins: Array) -> Array:
    """The request's row of each row of the workflow's output."""
    if session_column in table.columns:
        row_of = dict(zip(_pd.Series(stand_ins), present.tolist(), strict=True))
        return np.array([row_of[stand_in] for stand_in in table[session_column]], dtype=np.int64)
    if len(table) != len(present):
        raise RuntimeError(
            f"the workflow returned {len(table)} rows for {len(present)} sessions and does not return "
            f"'{session_column}' to tell them apart: add '{session_column}' to the workflow's outputs"
        )
    return present  # Groupby returns its groups in the order of their keys, which are the request's rows


def serving_form(workflow: Any) -> Any:
    """A copy of a fitted workflow that keeps the contract.

    Four things differ from training. A `Filter` after the `Groupby` drops no session (each is answered). The sort
    of the `Groupby` is stable, so that the position in the request breaks ties in time. `Categorify` gives null the
    code of null also where NVTabular raises: integer vocabularies, columns that are null throughout. Sessions stay
    apart, see `with_plain_sessions`.
    """
    workflow = every_session(workflow)
    for node in _nodes(workflow.output_node):
        if isinstance(node.op, _nvt.ops.Groupby):
            node.op = _StableGroupby(node.op)
        elif isinstance(node.op, (_nvt.ops.Categorify, _WithoutSessions)):
            node.op = _NullSafe(node.op)
    return workflow


def every_session(workflow: Any) -> Any:
    """A copy of a fitted workflow that keeps sessions apart, see `with_plain_sessions`, and drops none."""
    workflow = copy.deepcopy(with_plain_sessions(workflow))
    for node in _nodes(workflow.output_node):
        if isinstance(node.op, _nvt.ops.Filter) and _follows_groupby(node):
            node.op = _nvt.ops.Operator()
    return workflow


def with_plain_sessions(workflow: Any) -> Any:
    """A copy of a fitted workflow in which no `Categorify` encodes the column that the `Groupby` groups by.

    NVIDIA's examples encode it, and all sessions that training has not seen have one code there: a request's would be
    merged to one. The same workflow where nothing encodes it.
    """
    grouping = [node.op for node in _nodes(workflow.output_node) if isinstance(node.op, _nvt.ops.Groupby)]
    keys = {key for operator in grouping for key in operator.groupby_cols}
    encoding = [node for node in _nodes(workflow.output_node) if _encodes(node, keys)]
    if not encoding:
        return workflow
    workflow = copy.deepcopy(workflow)
    for node in _nodes(workflow.output_node):
        if _encodes(node, keys):
            node.op = _WithoutSessions(node.op, keys)
    return workflow


def _encodes(node: Any, keys: set[str]) -> bool:
    if not isinstance(node.op, _nvt.ops.Categorify) or _follows_groupby(node):
        return False
    return not keys.isdisjoint(node.op.column_mapping(node.input_columns.resolve(node.input_schema)))


def _nodes(node: Any) -> list[Any]:
    found = [node]
    for current in found:
        found.extend(p for p in current.parents_with_dependencies if all(p is not f for f in found))
    return found


def _follows_groupby(node: Any) -> bool:
    return any(isinstance(n.op, _nvt.ops.Groupby) for n in _nodes(node)[1:])


class _StandIn:
    """Stands in for a fitted operator; everything but `transform` is the operator's own."""

    def __init__(self, operator: Any) -> None:
        self._operator = operator

    def __getattr__(self, name: str) -> Any:
        if name == "_operator":  # asked for by copy before __init__ ran
            raise AttributeError(name)
        return getattr(self._operator, name)


class _StableGroupby(_StandIn):
    """NVTabular sorts by one column with an unstable quicksort."""

    def __init__(self, operator: Any) -> None:
        super().__init__(copy.copy(operator))
        self._sort_cols = list(operator.sort_cols)
        self._operator.sort_cols = []

    def transform(self, selector: Any, frame: Any) -> Any:
        if self._sort_cols:
            frame = frame.sort_values(
                self._sort_cols, ascending=self._operator.ascending, kind="stable", ignore_index=True
            )
        return self._operator.transform(selector, frame)


class _WithoutSessions(_StandIn):
    """Leaves the session column as it is."""

    def __init__(self, operator: Any, keys: set[str]) -> None:
        super().__init__(operator)
        self._keys = keys

    def transform(self, selector: Any, frame: Any) -> Any:
        names = [name for name in selector.grouped_names if name not in self._keys]
        return self._operator.transform(_nvt.ColumnSelector(names), frame) if names else frame


class _NullSafe(_StandIn):
    """Gives NVTabular's Categorify only the rows that are not null, and null its code."""

    def transform(self, selector: Any, frame: Any) -> Any:
        encoded = frame.copy(deep=False)
        mapping: dict[str, Any] = self._operator.column_mapping(selector)
        for name, group in mapping.items():
            columns: list[str] = [group] if isinstance(group, str) else list(group)
            known = ~frame[columns].isna().all(axis=1)
            if known.all():
                encoded[name] = self._encode(columns, name, frame)
                continue
            codes = np.full(len(frame), NULL, dtype=np.int64)
            if known.any():
                codes[known.to_numpy()] = self._encode(columns, name, frame[known].reset_index(drop=True))
            encoded[name] = codes
        return encoded

    def _encode(self, columns: list[str], name: str, frame: Any) -> Any:
        grouped: Any = columns if len(columns) == 1 else [tuple(columns)]
        return self._operator.transform(_nvt.ColumnSelector(grouped), frame[columns])[name].to_numpy()


def open_step(folder: Path, settings: NvtabularFeatures, own: OwnProcess | None = None) -> FeaturesStep:
    """Open the step of this folder. Unpickles `workflow/`: only ever one's own runs."""
    values = ItemIndex.load(folder, VALUES) if settings.item_values else None
    encoder = NvtabularEncoder(_nvt.Workflow.load(str(folder / "workflow")), settings, values)
    return FeaturesStep(encoder, encoder.outputs, settings, ItemIndex.load(folder), own)
