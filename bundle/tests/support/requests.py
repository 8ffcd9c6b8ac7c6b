"""A small signature, and requests to it."""

from __future__ import annotations

import numpy as np

from nextitem_bundle.runtime.signature import Feature, Signature

SIGNATURE = Signature(
    bundle_version=1,
    window=4,
    item_column="item_id",
    features=(Feature("item_id", "string"), Feature("timestamp", "datetime"), Feature("price", "float")),
    top_k_default=5,
    top_k_limit=9,
    max_sessions_per_request=3,
    max_interactions_per_session=6,
    max_id_bytes=8,
    max_filter_ids=16_384,
    options=("session_length", "top_k"),
)


def request(rows: int = 2, width: int = 3, **changes) -> dict[str, np.ndarray]:
    """Tensors of so many sessions of `width` interactions; a change of None leaves a tensor out."""
    tensors = {
        "item_id": np.full((rows, width), b"a", dtype=object),
        "timestamp": np.arange(rows * width).reshape(rows, width),
        "price": np.ones((rows, width), np.float32),
    }
    return {name: values for name, values in (tensors | changes).items() if values is not None}
