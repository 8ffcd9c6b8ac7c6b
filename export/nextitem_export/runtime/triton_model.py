"""The one class that Triton's Python backend loads, whatever the step."""

from __future__ import annotations

import gc
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from .arrival import let_arrive, read_strings_of
from .request import RequestError
from .step import open_step
from .together import Outcome, RunsTogether, answer_all

_utils: Any = pb_utils


class TritonPythonModel:
    """Hands requests to the step of this version's folder; a bad request fails alone, with a sentence."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the step. Triton shows what is raised here as the reason that the model is not ready."""
        self._name = args["model_name"]
        let_arrive(_utils)
        self._step = open_step(Path(args["model_repository"]) / args["model_version"], own_process=True)
        self._pace = self._step.pace if isinstance(self._step, RunsTogether) else None
        # What was loaded stays: no collection has to look through it again.
        gc.collect()
        gc.freeze()

    def execute(self, requests: Sequence[Any]) -> list[Any]:
        """Answer each request, in order; refuse those that are more than the step takes.

        Triton's own limit on its queue is not used: it costs a request up to 500 ms (docs/tuning.md).
        """
        if self._pace is None:
            return self._answers(requests)
        count = self._pace.begin(len(requests))
        answers = self._answers(requests[:count])
        answers += self._refusals(len(requests), count)
        self._pace.end(count)
        return answers

    def _answers(self, requests: Sequence[Any]) -> list[Any]:
        outcomes = answer_all(self._step, [self._read(request) for request in requests])
        return [self._response(outcome) for outcome in outcomes]

    def _refusals(self, waiting: int, count: int) -> list[Any]:
        # Triton's own words first, which callers may look for.
        what = f"Exceeds maximum queue size: {waiting} requests waited for {self._name}, which keeps {count}"
        return [_failure(f"{what}; ask again later", _utils.TritonError.UNAVAILABLE) for _ in range(waiting - count)]

    def _read(self, request: Any) -> dict[str, Any]:
        # Not by get_input_tensor_by_name, which looks through all of them for each.
        return {tensor.name(): read_strings_of(tensor.as_numpy()) for tensor in request.inputs()}

    def _response(self, outcome: Outcome) -> Any:
        if isinstance(outcome, RequestError):
            return _failure(str(outcome), _utils.TritonError.INVALID_ARG)
        if isinstance(outcome, Exception):
            _utils.Logger.log_error(f"{self._name}: {''.join(traceback.format_exception(outcome))}")
            what = f"step {self._name} failed: {type(outcome).__name__}: {outcome}"
            return _failure(what, _utils.TritonError.INTERNAL)
        return _utils.InferenceResponse(
            [_utils.Tensor(name, np.ascontiguousarray(values)) for name, values in outcome.items()]
        )


def _failure(message: str, code: Any) -> Any:
    return _utils.InferenceResponse(error=_utils.TritonError(message, code))
