"""The NVTabular workflow of sessions: with the packages `operators` and `items`, all that imports nvtabular.

Columns are encoded row by row, then grouped into one row per session with lists, newest
interactions last, of which ListSlice keeps the window. The last step is left out for training,
which needs whole sessions: `WorkflowPair.whole` is a second Workflow over the same fitted nodes.
"""

from __future__ import annotations

import functools
import operator
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cloudpickle
import numpy as np
import nvtabular as nvt
import pandas as pd
from merlin.dag.node import iter_nodes
from merlin.dag.ops.stat_operator import StatOperator
from merlin.schema import Tags
from nvtabular import ops

from nextitem_bundle.file_names import file_name
from nextitem_training.config import DataConfig, HeadConfig
from nextitem_training.config.heads import WIDTH
from nextitem_training.config.registry import Registry
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.errors import RunDirectoryError
from nextitem_training.operators.without_gpu import Absent, WithoutGpu
from nextitem_training.schema import (
    CATEGORICAL,
    CONTINUOUS,
    Feature,
    HeadOutput,
    RawFeature,
    SessionSchema,
)
from nextitem_training.special_ids import FIRST_KNOWN, NULL

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster

TIME_FEATURES: Registry[Callable[[pd.Series], pd.Series]] = Registry("time feature")
TIME_FEATURES.register("weekday")(lambda column: column.dt.weekday)
TIME_FEATURES.register("hour")(lambda column: column.dt.hour)
TIME_FEATURES.register("month")(lambda column: column.dt.month)

_STORED = "categories"  # the folder that Categorify makes in its out_path
# Stands in a saved workflow for the folder, which `load` fills in by replacing text in file names:
# nothing that could be part of a column's name.
_NOWHERE = "nextitem:workflow:folder"


@dataclass(frozen=True)
class WorkflowPair:
    """`served` ends with the window; `whole` gives whole sessions. Both share the fitted nodes."""

    served: nvt.Workflow
    whole: nvt.Workflow


@dataclass(frozen=True)
class ValueCounts:
    """A categorical column's raw values and their counts in the training interactions, by code."""

    values: np.ndarray
    """object or int64 [V - 3]: the raw value of code 3, 4, …"""
    counts: np.ndarray
    """int64 [V - 3]."""


def fit(frame: pd.DataFrame, data: DataConfig, storage: str | Path, cluster: Cluster | None = None) -> WorkflowPair:
    """Fits the workflow on training interactions.

    Args:
        frame: rows as `interactions.read_interactions` gives them, index 0..n-1.
        data: names the columns.
        storage: an existing folder in which Categorify keeps its vocabularies until `save`.
        cluster: fits there, where one is given.
    """
    frame = _numbers_as_numpy_has_them(frame, (*data.continuous, *data.log_continuous))
    served, whole = _graph(data, storage)
    # One partition, because Groupby does not move a session's rows between partitions.
    rows = cluster.dataset(frame, data.session_column) if cluster else nvt.Dataset(frame, npartitions=1, cpu=True)
    fitted = nvt.Workflow(served).fit(rows)
    assert rows.schema is not None, "a Dataset that is made of rows knows their schema"
    read = fitted.input_schema + rows.schema.select_by_name([*data.targets])
    return WorkflowPair(fitted, nvt.Workflow(whole).fit_schema(read))


def _graph(data: DataConfig, storage: str | Path) -> tuple[nvt.WorkflowNode, nvt.WorkflowNode]:
    """Builds the operators; returns the output with and without the window.

    Targets are in the latter alone, so that what is served runs without them.
    """
    names = feature_names(data)
    kept = [data.session_column, data.time_column, data.tie_breaker_column]
    encoded = [*_categorified((data.item_column, *data.categorical), storage, data)]
    for name in data.time_features:
        # By value, so that the saved workflow loads where this package is not installed.
        calendar = ops.LambdaOp(_self_contained(TIME_FEATURES.get(name)), dtype="int64")
        renamed = [data.time_column] >> calendar >> ops.Rename(name=name)
        encoded.append(renamed >> ops.Categorify(out_path=str(storage)))
    if data.log_continuous:
        logs = [*data.log_continuous] >> ops.Clip(min_value=0) >> ops.LogOp()
        encoded.append(normalised(logs))
    if data.continuous:
        encoded.append(normalised([*data.continuous]))
    sessions = _sessions([*encoded, kept], names, data)
    whole = sessions
    if data.targets:
        whole = _sessions([*encoded, [*kept, *data.targets]], (*names, *data.targets), data)
    return (sessions[[*names]] >> ops.ListSlice(-data.window)) + sessions[[data.session_column]], whole


def _categorified(names: Sequence[str], storage: str | Path, data: DataConfig) -> Iterator[nvt.WorkflowNode]:
    """Codes of these columns, each under another name for as long as NVTabular names a file by it, if it has to be."""

    def codes(columns: Sequence[str]) -> ops.Categorify:
        # 0 is no threshold; there is one for each of the columns, or one for all.
        least: Any = {file_name(name): data.min_item_count if name == data.item_column else 0 for name in columns}
        return ops.Categorify(out_path=str(storage), freq_threshold=least if data.min_item_count > 1 else 0)

    plain = [name for name in names if file_name(name) == name]
    if plain:
        yield plain >> codes(plain)
    for name in names:
        if name not in plain:
            yield ([name] >> ops.Rename(name=file_name(name)) >> codes([name]) >> ops.Rename(name=name))


def _sessions(columns: list, names: tuple[str, ...], data: DataConfig) -> nvt.WorkflowNode:
    """Groups rows into one per session, with a list per name; `columns` are nodes and lists of names."""
    # Added up anew for each use, as Merlin's + changes its left side where that is a sum already.
    grouped = functools.reduce(operator.add, columns) >> ops.Groupby(
        groupby_cols=data.session_column,
        sort_cols=[data.time_column, data.tie_breaker_column],
        aggs={name: ["list"] for name in names},  # pyright: ignore[reportArgumentType]  the default, "list", is no type
    )
    strip = _self_contained(lambda name: name[:-5] if name.endswith("_list") else name)
    return grouped >> ops.Rename(f=strip)


def _numbers_as_numpy_has_them(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Integers among nulls as float64: operators for numbers fail on pandas' Int64, and give float32 in any case."""
    nullable = [name for name in names if name in frame and isinstance(frame[name].dtype, pd.Int64Dtype)]
    return frame.astype(dict.fromkeys(nullable, "float64"))


def normalised(columns: object) -> nvt.WorkflowNode:
    """Standardised float32, the mean for null."""
    # Null is filled after Normalize: it becomes the mean, and no NaN reaches the model.
    filled = ops.FillMissing(fill_val=0.0)  # pyright: ignore[reportArgumentType]  the default, 0, is no type
    return columns >> ops.Normalize(out_dtype=np.float32) >> filled


def _self_contained(function: Callable) -> Callable:
    """A copy that cloudpickle stores by value and without the path of this file."""
    code = function.__code__.replace(co_filename="nextitem_training/workflow.py")
    copy = types.FunctionType(code, {"__builtins__": __builtins__}, "<lambda>")
    copy.__module__ = "__main__"
    return copy


def feature_names(data: DataConfig) -> tuple[str, ...]:
    """The model's features in order: the item, categories, time features, numbers."""
    categorical = (data.item_column, *data.categorical, *data.time_features)
    return (*categorical, *data.log_continuous, *data.continuous)


def describe(
    workflow: nvt.Workflow, data: DataConfig, dtypes: Mapping[str, str], heads: Sequence[HeadConfig] = ()
) -> SessionSchema:
    """Reads cardinalities and tags from the fitted workflow's output schema; targets are nothing that a caller sends."""
    output = workflow.output_schema
    assert output is not None, "a fitted workflow has it"
    features = []
    for name in feature_names(data):
        column = output.column_schemas[name]
        kind = CATEGORICAL if Tags.CATEGORICAL in column.tags else CONTINUOUS
        tags = {tag.value for tag in column.tags} - {Tags.LIST.value}
        if name == data.item_column:
            tags.add(Tags.ITEM_ID.value)
        is_code = kind == CATEGORICAL
        cardinality = int(column.properties["domain"]["max"]) + 1 if is_code else None
        dtype = "int64" if is_code else "float32"
        features.append(Feature(name, dtype, kind, cardinality, tuple(sorted(tags))))
    unsent = (data.session_column, *data.targets)
    raw = [RawFeature(name, dtype) for name, dtype in dtypes.items() if name not in unsent]
    return SessionSchema(
        window=data.window,
        session_column=data.session_column,
        time_column=data.time_column,
        tie_breaker_column=data.tie_breaker_column,
        item_column=data.item_column,
        item_feature=data.item_column,
        raw_features=tuple(raw),
        features=tuple(features),
        heads=tuple(HeadOutput(head.name, head.kind, WIDTH) for head in heads),
    )


def encode(
    workflow: nvt.Workflow,
    frame: pd.DataFrame,
    schema: SessionSchema,
    cluster: Cluster | None = None,
    targets: Sequence[str] = (),
) -> EncodedSessions:
    """Runs NVTabular's own transform on rows; sessions come out ordered by their id.

    Null in any column is allowed, see `null_safe`. Where a cluster is given the work is done there. `targets` are columns of
    [data] targets, which `WorkflowPair.whole` alone gives: float32 beside the features, null NaN.
    """
    numbers = [feature.name for feature in schema.features if feature.kind == CONTINUOUS]
    raw = _numbers_as_numpy_has_them(frame.loc[:, workflow.input_schema.column_names].reset_index(drop=True), numbers)
    workflow = null_safe(workflow)
    if cluster:
        encoded = workflow.transform(cluster.dataset(raw, schema.session_column)).to_ddf().compute()
        rows = encoded.sort_values(schema.session_column, ignore_index=True)
    else:
        rows = workflow.transform(raw)
    lengths = rows[schema.item_feature].map(len).to_numpy(dtype=np.int64)
    dtypes = {feature.name: feature.dtype for feature in schema.features} | dict.fromkeys(targets, "float32")
    features = {}
    for name, dtype in dtypes.items():
        values = [np.asarray(row, dtype=dtype) for row in rows[name]]
        features[name] = np.concatenate([np.empty(0, dtype), *values])
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    return EncodedSessions(rows[schema.session_column].to_numpy(), offsets, features)


class NullSafeCategorify(ops.Categorify):
    """A fitted Categorify that answers null with its code where NVTabular 23.8 raises.

    It raises on null under an integer vocabulary, on a column that is null throughout, and finds
    nulls by index label. Here every null gets NULL and the rest goes through NVTabular as it is, lists too, which have to be
    without nulls.
    """

    def __init__(self, fitted: ops.Categorify) -> None:
        self.__dict__.update(fitted.__dict__)  # Categorify's own would begin anew

    def transform(self, col_selector: nvt.ColumnSelector, df: pd.DataFrame) -> pd.DataFrame:
        """int64 codes of the selected columns, beside the others as they are."""
        encoded = df.copy(deep=False)
        for name in col_selector.names:
            if pd.api.types.is_list_like(next(iter(df[name]), None)):
                lists = df[[name]].reset_index(drop=True)
                encoded[name] = super().transform(nvt.ColumnSelector([name]), lists)[name].to_numpy()
                continue
            present = df[name].notna().to_numpy()
            codes = np.full(len(df), NULL, dtype=np.int64)
            if present.any():
                known = df.loc[present, [name]].reset_index(drop=True)
                codes[present] = super().transform(nvt.ColumnSelector([name]), known)[name].to_numpy()
            encoded[name] = codes
        return encoded


def null_safe(workflow: nvt.Workflow) -> nvt.Workflow:
    """A copy of a workflow whose Categorify takes null in any column, see NullSafeCategorify.

    Args:
        workflow: a fitted workflow.

    Returns:
        The copy.
    """
    copied = cloudpickle.loads(cloudpickle.dumps(workflow))
    for node in iter_nodes([copied.output_node]):
        if isinstance(node.op, ops.Categorify):
            node.op = NullSafeCategorify(node.op)
    return copied


def _operators(workflow: nvt.Workflow) -> list[Any]:
    # Several nodes may share one operator.
    unique = {id(node.op): node.op for node in iter_nodes([workflow.output_node])}
    return list(unique.values())


def vocabulary(workflow: nvt.Workflow, column: str) -> ValueCounts:
    """Read the vocabulary of a categorical column, code 3 first.

    Args:
        workflow: a fitted workflow.
        column: the raw column.

    Returns:
        The values and how often fitting saw each, in the order of their codes.
    """
    categories = [op.categories for op in _operators(workflow) if isinstance(op, ops.Categorify)]
    # Workflows of earlier versions encode every column under its own name.
    column, path = next(
        (name, paths[name]) for name in (column, file_name(column)) for paths in categories if name in paths
    )
    stored = pd.read_parquet(path)
    codes = stored.index.to_numpy(dtype=np.int64)
    codes = codes + (FIRST_KNOWN if len(codes) and codes[0] < FIRST_KNOWN else 0)
    stored = stored.iloc[np.argsort(codes)]
    values = stored[column]
    whole = pd.api.types.is_integer_dtype(values.dtype)
    return ValueCounts(
        values=values.to_numpy(dtype=np.int64 if whole else object),
        counts=stored[f"{column}_size"].to_numpy(dtype=np.int64),
    )


def save(workflow: nvt.Workflow, path: str | Path) -> None:
    """Saves with `Workflow.save` and then without the paths of this machine.

    NVTabular keeps where its vocabularies lay in the operators and in every schema; `load` puts
    the operators' right again, the schemas' would stay.
    """
    path = Path(path)
    # A deep copy, because saving points the operators to the new place.
    workflow = cloudpickle.loads(cloudpickle.dumps(workflow))
    nodes = [*iter_nodes([workflow.output_node])]
    for node in nodes:  # without those of `whole`, which hang from the nodes that both use
        node.children = [child for child in node.children if any(child is other for other in nodes)]
    workflow.save(path)
    for node in nodes:
        if isinstance(node.op, ops.Categorify):
            node.op.set_storage_path(_NOWHERE, copy=False)
        for schema in (node.input_schema, node.output_schema):
            for column in schema.column_schemas.values() if schema else ():
                if "cat_path" in column.properties:
                    stored = Path(column.properties["cat_path"]).name
                    column.properties["cat_path"] = f"{_STORED}/{stored}"
    with (path / "workflow.pkl").open("wb") as file:
        cloudpickle.dump(workflow, file)


def load(path: str | Path) -> nvt.Workflow:
    """Loads what `save` or `Workflow.save` wrote, wherever it lies now; raises RunDirectoryError where that fails.

    This runs code from the pickle: only for one's own run directories.
    """
    path = Path(path)
    try:
        with (path / "workflow.pkl").open("rb") as file:
            workflow = WithoutGpu(file).load()
        operators = _operators(workflow)
        for op in operators:
            if isinstance(op, StatOperator):
                op.set_storage_path(str(path), copy=False)
    except Exception as error:
        raise RunDirectoryError(
            f"The workflow in {path} cannot be loaded ({type(error).__name__}: {error}). "
            "It needs the library versions that config.json lists; install those or train again."
        ) from error
    for op in operators:
        held = next((name for name, value in vars(op).items() if isinstance(value, Absent)), None)
        if held:
            raise RunDirectoryError(
                f"The operator {type(op).__name__} of the workflow in {path} holds a table of cuDF as '{held}', which is not "
                "installed here. Where it was fitted, give the operator the table's to_pandas(), fit and save again."
            )
    return workflow
