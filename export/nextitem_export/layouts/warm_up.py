"""Warm-up requests of steps: the same bytes in every export of one configuration, since all versions of a step share them.

What is asked does not matter for warmth, its shapes do. So the values are those that every vocabulary has: the first item,
otherwise the code of padding, and raw values that need not be known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nextitem_bundle.runtime.codes import FIRST_ITEM

from ..graphs import items
from ..plan import Plan

_RAW = {
    "BYTES": np.array(b"-", dtype=np.object_),
    "INT64": np.array(0, dtype=np.int64),
    "FP32": np.array(0, dtype=np.float32),
}


def features_request(plan: Plan) -> dict[str, np.ndarray]:
    """A session of the window's length, [1, T]."""
    window = plan.signature.window
    request = {"session_length": np.array([[window]], dtype=np.int32)}
    for feature in plan.raw_features:
        value = _RAW[feature.datatype]
        request[feature.name] = np.full((1, window), value, dtype=value.dtype)
    return request


def retrieval_request(plan: Plan, example: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """What retrieval reads of a session of that length. example: what it reads of any session without filters, [1, …]."""
    request = dict(example)
    for feature in plan.features:
        value = FIRST_ITEM if feature.name == plan.item_feature else 0
        request[feature.tensor] = np.full_like(example[feature.tensor], value)
    return request


def items_request(plan: Plan) -> dict[str, np.ndarray]:
    """As many items as may be asked for, [1, K]."""
    k = plan.signature.top_k_limit
    return {
        items.CODES: np.full((1, k), FIRST_ITEM, dtype=np.int64),
        items.SCORES: np.zeros((1, k), dtype=np.float32),
        items.STATUS: np.zeros((1, 1), dtype=np.int32),
        items.TOP_K: np.array([k]),
    }
