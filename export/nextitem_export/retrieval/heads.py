"""A session model's further heads: what it predicts beside the next item, each an output of its own, FP32 [B, N].

A model says in `head_widths` which it has, by name, and gives them with its query or its scores, from one run of its body: by
`query_and_heads(features) -> (query, {name: [B, N]})`, or `forward_and_heads(features) -> (scores, {name: [B, N]})` where it
has no query.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import Tensor, nn

from nextitem_bundle.runtime.signature import Head
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .._errors import UnsupportedModel
from .nodes import Nodes

#: The retrieval step's outputs before the heads.
_FIRST = 3


def heads_of(model: nn.Module) -> tuple[Head, ...]:
    """The heads that a model declares, () for one that knows of none. Raises UnsupportedModel."""
    widths: Any = getattr(model, "head_widths", None) or {}
    kind = type(model).__name__
    if not isinstance(widths, Mapping) or any(type(width) is not int or width < 1 for width in widths.values()):
        raise UnsupportedModel(
            f"{kind}.head_widths is {widths!r}, expected a dict from each head's name to how many values it has, 1 or more"
        )
    for name in widths:
        if not isinstance(name, str) or not re.fullmatch("[A-Za-z][A-Za-z0-9_]*", name):
            raise UnsupportedModel(
                f"{kind} has a head named {name!r}, which names an output of the bundle: expected letters, digits and "
                "underscores, a letter first"
            )
    method = _method(model)
    result = "query [B, D]" if hasattr(model, "query") else "scores [B, V]"
    if widths and not hasattr(model, method):
        raise UnsupportedModel(
            f"{kind} has the heads {', '.join(widths)} in head_widths but no {method}(): give it {method}(features) -> "
            f"({result}, {{name: [B, N]}}), or leave head_widths away"
        )
    return tuple(Head(name, width) for name, width in widths.items())


def head_tensors(heads: Sequence[Head]) -> dict[str, Head]:
    """The retrieval step's further outputs, by the names that they have there."""
    return {f"head__{place}": head for place, head in enumerate(heads, _FIRST)}


def with_heads(
    model: nn.Module, features: Mapping[str, Tensor], heads: Sequence[Head]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """The query [B, D] or the scores [B, V], and each head, float32 [B, N], by one run of the model.

    Raises UnsupportedModel where it gives other heads than it declares.
    """
    method = _method(model)
    result, values = getattr(model, method)(features)
    kind = f"{type(model).__name__}.{method}(features)"
    if set(values) != {head.name for head in heads}:
        raise UnsupportedModel(
            f"{kind} gives the heads {', '.join(values) or '(none)'}, head_widths names {', '.join(h.name for h in heads)}: "
            "let both name the same"
        )
    for head in heads:
        value = values[head.name]
        if not isinstance(value, Tensor) or value.dim() != 2 or value.shape[1] != head.width:
            what = [int(size) for size in value.shape] if isinstance(value, Tensor) else type(value).__name__
            raise UnsupportedModel(
                f"{kind} gives '{head.name}' as {what}, expected [B, {head.width}] as in head_widths"
            )
    return result, tuple(values[head.name].float() for head in heads)


def null_where_unknown(value: Tensor, known: Tensor, lowest: Tensor) -> Tensor:
    """A head [B, N], the lowest FP32 for sessions without a known item, bool [B, 1], and for what is no number."""
    return torch.where(known & (value.abs() < torch.inf), value, lowest)


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


def _method(model: nn.Module) -> str:
    return "query_and_heads" if hasattr(model, "query") else "forward_and_heads"
