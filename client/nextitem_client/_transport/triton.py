"""The only module that touches tritonclient: its tensors, to the wire and back.

tritonclient carries no types and its two halves have heavy dependencies: each is imported when its
protocol is used first.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Optional, Protocol

import numpy.typing as npt

from nextitem_bundle.wire import datatype_of
from nextitem_client._exceptions import MissingPackage, UnexpectedResponse
from nextitem_client._transport import Inference, Reply


class Result(Protocol):
    """tritonclient's InferResult, of either half."""

    def as_numpy(self, name: str) -> Optional[npt.NDArray[Any]]: ...


def half(name: str) -> Any:
    """The module tritonclient.<name>: http, grpc or grpc.aio. Raises MissingPackage."""
    try:
        return importlib.import_module(f"tritonclient.{name}")
    except ImportError as error:
        raise MissingPackage(
            f"tritonclient.{name} cannot be imported ({error}). Install it with: "
            "pip install 'tritonclient[http,grpc]>=2.51'"
        ) from error


def arguments(module: Any, inference: Inference) -> tuple[list[Any], list[Any]]:
    """InferInputs and InferRequestedOutputs of one half of tritonclient."""
    tensors: list[Any] = []
    for name, array in inference.inputs.items():
        tensor = module.InferInput(name, list(array.shape), datatype_of(array.dtype))
        tensor.set_data_from_numpy(array)
        tensors.append(tensor)
    return tensors, [module.InferRequestedOutput(name) for name in inference.outputs]


def reply(result: Result, outputs: Sequence[str], model_version: str) -> Reply:
    """The tensors of a result. Raises UnexpectedResponse where one is missing."""
    tensors: dict[str, npt.NDArray[Any]] = {}
    for name in outputs:
        array = result.as_numpy(name)
        if array is None:
            raise UnexpectedResponse(
                f"The answer lacks the tensor {name}; expected are {', '.join(outputs)}. "
                "Was the model exported by nextitem-export?"
            )
        tensors[name] = array
    return Reply(tensors, model_version)
