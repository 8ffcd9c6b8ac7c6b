"""The items workflow: NVTabular over the items table, one row for each item, fitted on the items that training clicked."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Iterator, Sized
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import nvtabular as nvt
import pandas as pd
from merlin.dag.node import iter_nodes
from nvtabular import ops

from nextitem_bundle.file_names import file_name
from nextitem_training.config import ItemsConfig
from nextitem_training.errors import DataError
from nextitem_training.items.encodings import Categories, Encoding, Scale
from nextitem_training.items.table import ItemsTable
from nextitem_training.schema import ItemAttribute, ItemsSchema
from nextitem_training.special_ids import FIRST_KNOWN, NULL, PADDING
from nextitem_training.workflow import normalised, null_safe, vocabulary


@dataclass(frozen=True)
class ItemContents:
    """What is known of V items, by code; rows of 0 for padding, null, unknown, and null where the table has no row.

    Attributes:
        codes: int64 [V, A], the categorical attributes' codes, in the order of [items].
        bags: int64 [V, L] for each multi-hot attribute, padded on the right with 0.
        numbers: float32 [V, N], log_continuous and then continuous attributes, standardised.
        vectors: float32 [V, P].
    """

    codes: np.ndarray
    bags: tuple[np.ndarray, ...]
    numbers: np.ndarray
    vectors: np.ndarray


def fit_items(table: ItemsTable, clicked: np.ndarray, items: ItemsConfig, storage: Path) -> nvt.Workflow | None:
    """Fits the workflow; None where [items] has vectors alone.

    Args:
        table: all items.
        clicked: raw ids of the items that training knows.
        storage: a folder for the vocabularies.

    Raises DataError where the table has none of the clicked items, or no value of an attribute for any of them.
    """
    rows = table.rows_of(clicked)
    known = table.frame.iloc[rows[rows >= 0]].reset_index(drop=True)
    if not len(known):
        raise DataError(
            f"--items: none of its {len(table.frame)} ids is an item of the training interactions; they begin with "
            f"{table.ids[0]!r}, the items with {clicked[0]!r}. Give the table of these items."
        )
    for name in items.attributes:
        empty = not any(known[name]) if name in items.multi_hot else known[name].isna().to_numpy().all()
        if empty:
            raise DataError(
                f"--items: column '{name}' holds no value for any item of the training; leave it out of [items]."
            )
    if not items.attributes:
        return None
    storage.mkdir(exist_ok=True)
    workflow = nvt.Workflow(_graph(items, storage))
    return workflow.fit(nvt.Dataset(known[[*items.attributes]], npartitions=1, cpu=True))


def _graph(items: ItemsConfig, storage: Path) -> nvt.WorkflowNode:
    nodes = [*_categorified(items, storage)]
    if items.log_continuous:
        nodes.append(normalised([*items.log_continuous] >> ops.Clip(min_value=0) >> ops.LogOp()))
    if items.continuous:
        nodes.append(normalised([*items.continuous]))
    return functools.reduce(operator.add, nodes)


def _categorified(items: ItemsConfig, storage: Path) -> Iterator[nvt.WorkflowNode]:
    for name in (*items.categorical, *items.multi_hot):
        if file_name(name) == name:
            yield [name] >> ops.Categorify(out_path=str(storage))
        else:  # NVTabular names a file by the column
            inner = [name] >> ops.Rename(name=file_name(name)) >> ops.Categorify(out_path=str(storage))
            yield inner >> ops.Rename(name=name)


def encode_items(
    workflow: nvt.Workflow | None, table: ItemsTable, values: np.ndarray, items: ItemsConfig
) -> ItemContents:
    """What NVTabular makes of the items with these raw ids, by code.

    Args:
        workflow: the fitted one; None where [items] has vectors alone.
        values: the item vocabulary, object or int64 [V - 3], of which the table has at least one.

    Raises DataError where a number is not finite once it is standardised.
    """
    rows = table.rows_of(values)
    found = rows >= 0
    frame = table.frame.iloc[rows[found]].reset_index(drop=True)
    encoded = frame if workflow is None else null_safe(workflow).transform(frame[[*items.attributes]])
    count = FIRST_KNOWN + len(values)
    places = FIRST_KNOWN + np.flatnonzero(found)

    def spread(columns: list[np.ndarray], width: int, dtype: Any, null: int) -> np.ndarray:
        """[V, width] of columns [number of rows found]."""
        spread = np.zeros((count, width), dtype)
        spread[FIRST_KNOWN:] = null
        if columns:
            spread[places] = np.stack(columns, axis=1)
        return spread

    codes = [encoded[name].to_numpy(np.int64) for name in items.categorical]
    numbers = [_finite(encoded[name]) for name in (*items.log_continuous, *items.continuous)]
    vectors = np.zeros((count, items.vectors_width), np.float32)
    if table.vectors is not None:
        vectors[places] = table.vectors[rows[found]]
    return ItemContents(
        codes=spread(codes, len(items.categorical), np.int64, NULL),
        bags=tuple(_bag(encoded[name], places, count, _longest(table.frame[name])) for name in items.multi_hot),
        numbers=spread(numbers, len(items.log_continuous) + len(items.continuous), np.float32, 0),
        vectors=vectors,
    )


def _finite(column: pd.Series) -> np.ndarray:
    """float32 [N]. Raises DataError, as one NaN would make all weights NaN."""
    values = column.to_numpy(np.float32)
    wrong = int(np.count_nonzero(~np.isfinite(values)))
    if wrong:
        raise DataError(
            f"--items: column '{column.name}' is NaN or infinite for {wrong} of {len(values)} items once it is standardised: "
            "it holds values that float32 cannot add up. Replace its extreme values by null, or list it under log_continuous."
        )
    return values


def _bag(encoded: pd.Series, places: np.ndarray, count: int, length: int) -> np.ndarray:
    """Lists of codes as int64 [V, length], padded on the right; nothing but padding for an empty list."""
    bag = np.full((count, length), PADDING, np.int64)
    for place, codes in zip(places, encoded, strict=True):
        bag[place, : len(codes)] = codes
    return bag


def _longest(lists: Iterable[Sized]) -> int:
    return max(1, *map(len, lists))


def describe_items(workflow: nvt.Workflow | None, table: ItemsTable, items: ItemsConfig) -> ItemsSchema:
    """What the run directory's schema says of the attributes."""

    def cardinality(name: str) -> int:
        assert workflow is not None
        return FIRST_KNOWN + len(vocabulary(workflow, name).values)

    kinds = {
        **dict.fromkeys(items.categorical, "categorical"),
        **dict.fromkeys(items.multi_hot, "multi_hot"),
        **dict.fromkeys(items.log_continuous, "log_continuous"),
        **dict.fromkeys(items.continuous, "continuous"),
    }
    coded = (*items.categorical, *items.multi_hot)
    lengths = {name: _longest(table.frame[name]) for name in items.multi_hot}
    return ItemsSchema(
        attributes=tuple(
            ItemAttribute(
                name, kind, table.dtypes[name], cardinality(name) if name in coded else None, lengths.get(name)
            )
            for name, kind in kinds.items()
        ),
        vectors=table.vectors_name,
        vectors_width=items.vectors_width,
        shown=items.shown,
    )


def encodings_of(workflow: nvt.Workflow | None, schema: ItemsSchema) -> tuple[Encoding, ...]:
    """How the workflow encodes each attribute, in the schema's order."""
    scales = _scales(workflow) if workflow is not None else {}
    found: list[Encoding] = []
    for attribute in schema.attributes:
        if attribute.cardinality is not None:
            assert workflow is not None
            found.append(Categories(attribute.name, vocabulary(workflow, attribute.name).values))
        else:
            mean, std = scales[attribute.name]
            found.append(Scale(attribute.name, attribute.kind == "log_continuous", mean, std))
    return tuple(found)


def _scales(workflow: nvt.Workflow) -> dict[str, tuple[float, float]]:
    normalize = [node.op for node in iter_nodes([workflow.output_node]) if isinstance(node.op, ops.Normalize)]
    # Where all values are the same, or there is but one, NVTabular divides by nothing.
    return {
        name: (float(op.means[name]), float(op.stds[name]) if op.stds[name] > 0 else 1.0)
        for op in normalize
        for name in op.means
    }
