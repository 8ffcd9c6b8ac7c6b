"""A request as the bytes that go over a socket: HTTP, KServe v2 with its extension for binary tensors."""

from __future__ import annotations

import json
from collections.abc import Mapping

import numpy as np

_DATATYPES = {"int32": "INT32", "int64": "INT64", "float32": "FP32", "object": "BYTES"}


def infer_request(model: str, tensors: Mapping[str, np.ndarray]) -> bytes:
    """A whole POST. tensors: name to its values [B, …] of int32, int64, float32 or, as objects, bytes."""
    blobs = {name: _bytes_of(values) for name, values in tensors.items()}
    inputs = [
        {
            "name": name,
            "shape": list(values.shape),
            "datatype": _DATATYPES[values.dtype.name],
            "parameters": {"binary_data_size": len(blobs[name])},
        }
        for name, values in tensors.items()
    ]
    head = json.dumps({"inputs": inputs, "parameters": {"binary_data_output": True}}).encode()
    body = b"".join([head, *blobs.values()])
    lines = (
        f"POST /v2/models/{model}/infer HTTP/1.1",
        "Host: 127.0.0.1",
        f"Inference-Header-Content-Length: {len(head)}",
        f"Content-Length: {len(body)}",
    )
    return "\r\n".join((*lines, "", "")).encode() + body


def _bytes_of(values: np.ndarray) -> bytes:
    if values.dtype != object:
        return values.tobytes()
    return b"".join(len(value).to_bytes(4, "little") + value for value in values.ravel())
