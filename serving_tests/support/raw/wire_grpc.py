"""gRPC requests as messages and as bytes, for what no client would send."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc import service_pb2_grpc

METHOD = "/inference.GRPCInferenceService/ModelInfer"

Message = Any  # pb.ModelInferRequest, which is made when protobuf is imported
#: Changes a good request in place, or returns what is to be sent instead of it.
Change = Callable[[Message], Message | bytes | None]


def good_message(tensors: dict[str, np.ndarray]) -> Message:
    """A request to the shop with raw contents, as clients send it."""
    datatypes = {"i8": "INT64", "i4": "INT32", "f4": "FP32", "b1": "BOOL"}
    message = pb.ModelInferRequest(model_name="shop")
    for name, values in tensors.items():
        kind = "BYTES" if values.dtype == object else datatypes[values.dtype.str[1:]]
        message.inputs.add(name=name, datatype=kind, shape=values.shape)
        raw = b"".join(map(prefixed, values.ravel())) if kind == "BYTES" else values.tobytes()
        message.raw_input_contents.append(raw)
    return message


def prefixed(value: bytes, order: str = "<") -> bytes:
    """A string of a BYTES tensor: its length in four bytes, and itself."""
    return struct.pack(order + "I", len(value)) + value


def of(message: Message, name: str) -> int:
    """Where the input stands."""
    return [tensor.name for tensor in message.inputs].index(name)


def changed(name: str, /, *, raw: bytes | None = None, shape: list[int] | None = None, **fields: Any) -> Change:
    """Raw contents, shape or other fields of an input replaced."""

    def change(message: Message) -> None:
        place = of(message, name)
        for field, value in fields.items():
            setattr(message.inputs[place], field, value)
        if raw is not None:
            message.raw_input_contents[place] = raw
        if shape is not None:
            message.inputs[place].shape[:] = shape

    return change


def added(name: str, datatype: str, shape: list[int], raw: bytes) -> Change:
    """One more input."""

    def change(message: Message) -> None:
        message.inputs.add(name=name, datatype=datatype, shape=shape)
        message.raw_input_contents.append(raw)

    return change


def typed(name: str, field: str, values: list) -> Change:
    """All inputs but one without contents; this one's in a typed field."""

    def change(message: Message) -> None:
        del message.raw_input_contents[:]
        getattr(message.inputs[of(message, name)].contents, field).extend(values)

    return change


def send(url: str, request: Message | bytes, method: str = METHOD) -> Message:
    """The answer. Raises grpc.RpcError."""
    with grpc.insecure_channel(url.split("//")[1]) as channel:
        if isinstance(request, bytes) or method != METHOD:
            raw = request if isinstance(request, bytes) else request.SerializeToString()
            return channel.unary_unary(method)(raw, timeout=60)
        return service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request, timeout=60)
