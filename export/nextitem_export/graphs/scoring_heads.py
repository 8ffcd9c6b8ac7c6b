"""The further heads in the retrieval step's graph: behind the session model's nodes, what makes them null."""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper

from nextitem_bundle.runtime.codes import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .heads import head_tensors
from .retrieval import Retrieval
from .scoring_nodes import Nodes
from .scoring_session import SessionGraph


def add_heads(nodes: Nodes, retrieval: Retrieval, session: SessionGraph, newest: str) -> list[onnx.ValueInfoProto]:
    """Name the heads as the retrieval step's outputs, float32 [B, N], and return these.

    The lowest FP32 stands for what is no number, and in sessions without a known item. newest: the highest item code of each
    session, int64 [B, 1].
    """
    tensors = head_tensors(retrieval.heads)
    if tensors:
        known = nodes.add("GreaterOrEqual", newest, nodes.constant(np.int64(FIRST_ITEM)))
        lowest, end = (nodes.constant(np.float32(value)) for value in (LOWEST_FLOAT32, np.inf))
    for tensor, inner in zip(tensors, session.heads, strict=True):
        number = nodes.add("Less", nodes.add("Abs", inner), end)
        value = nodes.add("Where", nodes.add("And", known, number), inner, lowest)
        nodes.nodes.append(helper.make_node("Identity", [value], [tensor], tensor))
    return [
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["B", head.width]) for tensor, head in tensors.items()
    ]
