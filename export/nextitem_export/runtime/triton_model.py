"""The one class that Triton's Python backend loads, whatever the step."""

from __future__ import annotations

import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from .arrival import let_arrive, refuse_impossible
from .request import RequestError
from .step import open_step

_utils: Any = pb_utils


class TritonPythonModel:
    """Hands requests to the step of this version's folder; a bad request fails alone, with a sentence."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the step. Triton shows what is raised here as the reason that the model is not ready."""
        self._name = args["model_name"]
        let_arrive(_utils)
        self._step = open_step(Path(args["model_repository"]) / args["model_version"])

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, in order."""
        inputs = [self._read(request) for request in requests]
        if self._step.batched and len(inputs) > 1:
            return self._answer_together(inputs)
        return [self._answer(tensors) for tensors in inputs]

    def _read(self, request: Any) -> dict[str, Any]:
        found = ((name, _utils.get_input_tensor_by_name(request, name)) for name in self._step.inputs)
        return {name: tensor.as_numpy() for name, tensor in found if tensor is not None}

    def _answer(self, tensors: dict[str, Any]) -> Any:
        try:
            refuse_impossible(tensors)
            return _response(self._step.run(tensors))
        except RequestError as error:
            return _failure(str(error), _utils.TritonError.INVALID_ARG)
        except Exception as error:  # noqa: BLE001  any fault must fail this request alone, never the server
            _utils.Logger.log_error(f"{self._name}: {traceback.format_exc()}")
            return _failure(f"step {self._name} failed: {type(error).__name__}: {error}", _utils.TritonError.INTERNAL)

    def _answer_together(self, inputs: list[dict[str, Any]]) -> list[Any]:
        try:
            for tensors in inputs:
                refuse_impossible(tensors)
            joined = {name: np.concatenate([tensors[name] for tensors in inputs]) for name in inputs[0]}
            outputs = self._step.run(joined)
        except Exception:  # noqa: BLE001  one of them is at fault: find out which by answering each alone
            return [self._answer(tensors) for tensors in inputs]
        first = next(iter(inputs[0]))
        ends = np.cumsum([len(tensors[first]) for tensors in inputs])[:-1]
        parts = {name: np.split(values, ends) for name, values in outputs.items()}
        return [_response({name: values[row] for name, values in parts.items()}) for row in range(len(inputs))]


def _response(outputs: dict[str, Any]) -> Any:
    return _utils.InferenceResponse(
        [_utils.Tensor(name, np.ascontiguousarray(values)) for name, values in outputs.items()]
    )


def _failure(message: str, code: Any) -> Any:
    return _utils.InferenceResponse(error=_utils.TritonError(message, code))
