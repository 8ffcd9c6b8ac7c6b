"""The only module that touches tritonclient: its tensors, to the wire and back.

tritonclient carries no types and its two halves have heavy dependencies: each is imported when its
protocol is used first.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Protocol, cast

import numpy.typing as npt

from nextitem_bundle.wire import datatype_of
from nextitem_client._exceptions import MissingPackage, UnexpectedResponse
from nextitem_client._transport import Inference, Reply


class Result(Protocol):
    """tritonclient's InferResult, of either half."""

    def as_numpy(self, name: str) -> Optional[npt.NDArray[Any]]: ...
    def get_response(self) -> Any: ...
    def get_output(self, name: str) -> Any: ...


class Placement(Protocol):
    """Where tensors lie in shared memory; see _shared_memory.py."""

    region: str
    inputs: Mapping[str, tuple[int, int]]  # name → offset and size in bytes
    outputs: Mapping[str, tuple[int, int]]

    def read(self, name: str, datatype: str, shape: Sequence[int]) -> npt.NDArray[Any]:
        """A copy of an output."""
        ...


def half(name: str) -> Any:
    """The module tritonclient.<name>: http, grpc or grpc.aio. Raises MissingPackage."""
    try:
        return importlib.import_module(f"tritonclient.{name}")
    except ImportError as error:
        raise MissingPackage(
            f"tritonclient.{name} cannot be imported ({error}). Install it with: "
            "pip install 'tritonclient[http,grpc]>=2.51'"
        ) from error


def serialize_strings(array: npt.NDArray[Any]) -> bytes:
    """BYTES on the wire: each element's length (uint32, little endian) before it."""
    utils: Any = importlib.import_module("tritonclient.utils")
    return utils.serialize_byte_tensor(array).item() if array.size else b""


def deserialize_strings(content: bytes) -> npt.NDArray[Any]:
    """The reverse, flat."""
    utils: Any = importlib.import_module("tritonclient.utils")
    return utils.deserialize_bytes_tensor(content)


def arguments(module: Any, inference: Inference, placement: Placement | None) -> tuple[list[Any], list[Any]]:
    """InferInputs and InferRequestedOutputs of one half of tritonclient."""
    tensors: list[Any] = []
    for name, array in inference.inputs.items():
        tensor = module.InferInput(name, list(array.shape), datatype_of(array.dtype))
        if placement is None:
            tensor.set_data_from_numpy(array)
        else:
            offset, size = placement.inputs[name]
            tensor.set_shared_memory(placement.region, size, offset)
        tensors.append(tensor)
    wanted: list[Any] = []
    for name in inference.outputs:
        output = module.InferRequestedOutput(name)
        if placement is not None and name in placement.outputs:
            offset, size = placement.outputs[name]
            output.set_shared_memory(placement.region, size, offset)
        wanted.append(output)
    return tensors, wanted


def reply(result: Result, outputs: Sequence[str], model_version: str, placement: Placement | None) -> Reply:
    """The tensors of a result, wherever they lie."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in outputs:
        if placement is not None and name in placement.outputs:
            array = _from_memory(result.get_output(name), name, placement)
        else:
            array = result.as_numpy(name)
        if array is None:
            raise UnexpectedResponse(
                f"The answer lacks the tensor {name}; expected are {', '.join(outputs)}. "
                "Was the model exported by nextitem-export?"
            )
        tensors[name] = array
    return Reply(tensors, model_version)


def _from_memory(output: Any, name: str, placement: Placement) -> npt.NDArray[Any] | None:
    if output is None:
        return None
    if isinstance(output, dict):  # HTTP's JSON
        described = cast("Mapping[str, Any]", output)
        return placement.read(name, str(described["datatype"]), [int(size) for size in described["shape"]])
    return placement.read(name, str(output.datatype), [int(size) for size in output.shape])
