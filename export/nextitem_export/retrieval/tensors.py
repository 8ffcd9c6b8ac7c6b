"""The retrieval step's tensors, and what its graph is written for: the ranked items, without the model that ranks them."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from nextitem_bundle.runtime.signature import Head
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import ModelFeature
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .nodes import Nodes

#: The outputs; those of further heads come behind them. Triton's PyTorch backend matches names only in the form NAME__INDEX,
#: others silently by order.
CODES, SCORES, STATUS = OUTPUTS = ("codes__0", "scores__1", "status__2")


@dataclasses.dataclass(frozen=True)
class RankedItems:
    """V items and how they are asked for.

    Attributes:
        table: the items as vectors, float32 [V, D]; None for a model that gives scores itself.
        log_popularity: by which sessions without a known item are ranked, float32 [V].
        features: the names of what the model reads, in order. item_feature: that of the encoded items.
        k: items of an answer, at most.
        heads: what the model predicts beside the next item.
        model: what refusals call it.
    """

    table: np.ndarray | None
    log_popularity: np.ndarray
    features: tuple[str, ...]
    item_feature: str
    k: int
    heads: tuple[Head, ...] = ()
    model: str = "the model"

    def __len__(self) -> int:
        """V."""
        return len(self.log_popularity)


def filter_tensors(features: Sequence[ModelFeature]) -> tuple[str, str, str]:
    """The retrieval step's further inputs: codes excluded and allowed, int64 [B, P], and what is available, bool [V]."""
    first = len(features)
    return f"excluded__{first}", f"allowed__{first + 1}", f"available__{first + 2}"


def head_tensors(heads: Sequence[Head]) -> dict[str, Head]:
    """The retrieval step's further outputs, by the names that they have there."""
    return {f"head__{place}": head for place, head in enumerate(heads, len(OUTPUTS))}


def add_heads(nodes: Nodes, heads: Sequence[Head], traced: Sequence[str], newest: str) -> list[onnx.ValueInfoProto]:
    """Name the heads as the retrieval step's outputs, float32 [B, N], and return these.

    The lowest FP32 stands for what is no number, and in sessions without a known item. traced: the
    session model's tensors for the heads. newest: the highest item code of each
    session, int64 [B, 1].
    """
    tensors = head_tensors(heads)
    if tensors:
        known = nodes.add("GreaterOrEqual", newest, nodes.constant(np.int64(FIRST_ITEM)))
        lowest, end = (nodes.constant(np.float32(value)) for value in (LOWEST_FLOAT32, np.inf))
    for tensor, inner in zip(tensors, traced, strict=True):
        number = nodes.add("Less", nodes.add("Abs", inner), end)
        value = nodes.add("Where", nodes.add("And", known, number), inner, lowest)
        nodes.nodes.append(helper.make_node("Identity", [value], [tensor], tensor))
    return [
        helper.make_tensor_value_info(tensor, TensorProto.FLOAT, ["B", head.width]) for tensor, head in tensors.items()
    ]
