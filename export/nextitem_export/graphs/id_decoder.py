"""The items step: encoded items to raw ids, cut to the number of items that the request wants; a graph, or a table."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nextitem_bundle.names import ANSWER
from nextitem_bundle.runtime.id_decoder import TABLE
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.special_ids import STATUS as STATUS_NAMES
from nextitem_bundle.runtime.steps import Items, write_step
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from ..workflow.backend_choice import NUMPY, ONNX
from ..workflow.graph_builder import IR_VERSION, OPSET

INPUTS = CODES, SCORES, STATUS, TOP_K = (
    "ranked_codes",
    "ranked_scores",
    "ranked_status",
    "top_k_checked",
)
OUTPUTS = ANSWER


def write_items(values: np.ndarray, folder: Path, backend: str = ONNX) -> None:
    """Write the step into a version folder: `model.onnx`, or `items.npy` for the backend `numpy`, and step.json.

    values: raw ids [V - 3] by code from 3, int64 or object array of str. The special codes stand for null.
    """
    strings = values.dtype == object
    null = [NULL_STRING if strings else NULL_INT64] * FIRST_ITEM
    table = np.concatenate([np.array(null, dtype=values.dtype), values])
    if backend == NUMPY:
        encoded = np.array([value.encode() for value in table.tolist()], dtype=np.bytes_) if strings else table
        np.save(folder / TABLE, encoded, allow_pickle=False)
    else:
        onnx.save(_graph(table), str(folder / "model.onnx"))
    write_step(folder, Items(backend, INPUTS))


def _graph(table: np.ndarray) -> onnx.ModelProto:
    """table: raw ids [V] by code."""
    item_type = TensorProto.STRING if table.dtype == object else TensorProto.INT64
    graph = helper.make_graph(
        [
            helper.make_node("Slice", [CODES, "zero", TOP_K, "one"], ["codes"], "best_codes"),
            helper.make_node("Slice", [SCORES, "zero", TOP_K, "one"], ["scores"], "best_scores"),
            helper.make_node("Gather", ["items", "codes"], ["item_ids"], "raw_ids"),
            helper.make_node("Gather", ["names", STATUS], ["status"], "status_names"),
        ],
        "items",
        [
            helper.make_tensor_value_info(CODES, TensorProto.INT64, ["B", "K_max"]),
            helper.make_tensor_value_info(SCORES, TensorProto.FLOAT, ["B", "K_max"]),
            helper.make_tensor_value_info(STATUS, TensorProto.INT32, ["B", 1]),
            helper.make_tensor_value_info(TOP_K, TensorProto.INT64, [1]),
        ],
        [
            helper.make_tensor_value_info("item_ids", item_type, ["B", "K"]),
            helper.make_tensor_value_info("scores", TensorProto.FLOAT, ["B", "K"]),
            helper.make_tensor_value_info("status", TensorProto.STRING, ["B", 1]),
        ],
        [
            numpy_helper.from_array(np.array([0]), "zero"),
            numpy_helper.from_array(np.array([1]), "one"),
            numpy_helper.from_array(table, "items"),
            numpy_helper.from_array(np.array(STATUS_NAMES, dtype=object), "names"),
        ],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = IR_VERSION
    onnx.checker.check_model(model)
    return model
