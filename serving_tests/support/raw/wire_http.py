"""HTTP requests as bytes, for what no client would send."""

from __future__ import annotations

import copy
import dataclasses
import http.client
import json
import socket
from collections.abc import Callable
from typing import Any

import numpy as np

INFER = "/v2/models/shop/infer"


@dataclasses.dataclass(frozen=True)
class Raw:
    """What goes over the wire. claimed: a Content-Length that is not the body's; then the connection is closed."""

    body: bytes = b""
    headers: dict[str, str] = dataclasses.field(default_factory=dict)
    method: str = "POST"
    path: str = INFER
    claimed: int | None = None


def as_json(document: Any, **more: Any) -> Raw:
    return Raw(json.dumps(document).encode(), **more)


def changed(which: str, /, **fields: Any) -> Callable[[dict], Raw]:
    """A field of an input replaced; ... leaves the field out."""

    def change(document: dict) -> Raw:
        tensor = _input(document, which)
        tensor.update(fields)
        for field in [key for key, value in tensor.items() if value is ...]:
            del tensor[field]
        return as_json(document)

    return change


def first(name: str, value: Any) -> Callable[[dict], Raw]:
    """The first value of an input replaced."""

    def change(document: dict) -> Raw:
        _input(document, name)["data"][0] = value
        return as_json(document)

    return change


def added(**tensor: Any) -> Callable[[dict], Raw]:
    return lambda document: as_json({**document, "inputs": [*document["inputs"], tensor]})


def having(**fields: Any) -> Callable[[dict], Raw]:
    return lambda document: as_json({**document, **fields})


def plain(body: bytes | str, **more: Any) -> Callable[[dict], Raw]:
    return lambda _: Raw(body if isinstance(body, bytes) else body.encode(), **more)


def elsewhere(path: str, method: str = "POST") -> Callable[[dict], Raw]:
    return lambda document: as_json(document, path=path, method=method)


def binary(name: str, raw: bytes, *, size: int | None = None, header: str | None = None) -> Callable[[dict], Raw]:
    """An input's data as bytes behind the JSON."""

    def change(document: dict) -> Raw:
        tensor = _input(document, name)
        del tensor["data"]
        tensor["parameters"] = {"binary_data_size": len(raw) if size is None else size}
        text = json.dumps(document).encode()
        length = header or str(len(text))
        return Raw(text + raw, {"Inference-Header-Content-Length": length})

    return change


def _input(document: dict, name: str) -> dict:
    return next(tensor for tensor in document["inputs"] if tensor["name"] == name)


def good_document(tensors: dict[str, np.ndarray]) -> dict:
    """The same request in plain JSON."""
    datatypes = {"O": "BYTES", "i8": "INT64", "i4": "INT32", "f4": "FP32", "b1": "BOOL"}
    inputs = []
    for name, values in tensors.items():
        data = [v.decode() if isinstance(v, bytes) else v for v in values.ravel().tolist()]
        kind = datatypes["O" if values.dtype == object else values.dtype.str[1:]]
        inputs.append({"name": name, "shape": list(values.shape), "datatype": kind, "data": data})
    return copy.deepcopy({"inputs": inputs})


def send(url: str, raw: Raw) -> tuple[int, str]:
    """Status and body of the answer. Raises http.client.RemoteDisconnected where there is none."""
    connection = http.client.HTTPConnection(url.split("//")[1], timeout=60)
    try:
        connection.putrequest(raw.method, raw.path)
        for name, value in raw.headers.items():
            connection.putheader(name, value)
        connection.putheader("Content-Length", str(len(raw.body) if raw.claimed is None else raw.claimed))
        connection.endheaders(raw.body)
        if raw.claimed is not None:
            connection.sock.shutdown(socket.SHUT_WR)
        response = connection.getresponse()
        return response.status, response.read().decode(errors="replace")
    finally:
        connection.close()
