"""Puts further items into the vocabulary of a fitted workflow, behind the last code."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from merlin.dag.node import iter_nodes
from nvtabular import ops

from nextitem_bundle.file_names import file_name
from nextitem_training.special_ids import FIRST_KNOWN
from nextitem_training.workflow import WorkflowPair


def extend_vocabulary(fitted: WorkflowPair, column: str, values: np.ndarray, storage: Path) -> None:
    """Gives values that fitting never saw the next codes, with the count 0, so that NVTabular itself knows them.

    Categorify reads its vocabulary from a file and keeps by the file's path what it read, here and on the workers of a
    cluster: the longer vocabulary lies at another place.

    Args:
        column: the raw column.
        values: object or int64 [N], none of them known.
        storage: a folder for the vocabularies of the operator that encodes the column.
    """
    name = file_name(column)
    nodes = [node for pair in (fitted.served, fitted.whole) for node in iter_nodes([pair.output_node])]
    encoding = {id(node.op): node.op for node in nodes if isinstance(node.op, ops.Categorify)}
    for op in encoding.values():
        if name in op.categories:
            op.set_storage_path(str(storage), copy=True)
            _lengthen(Path(op.categories[name]), name, values)
    for workflow in (fitted.served, fitted.whole):  # how many codes there are, NVTabular's own schemas say too
        workflow.fit_schema(workflow.input_schema)


def _lengthen(path: Path, name: str, values: np.ndarray) -> None:
    known = pd.read_parquet(path)
    more = pd.DataFrame({name: values, f"{name}_size": np.zeros(len(values), np.int64)})
    longer = pd.concat([known, more.astype(known.dtypes.to_dict())[[*known.columns]]], ignore_index=True)
    first: Any = known.index[0] if len(known) else FIRST_KNOWN
    longer.index = longer.index + first
    longer.to_parquet(path)
