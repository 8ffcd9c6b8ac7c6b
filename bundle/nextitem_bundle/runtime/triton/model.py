"""The one class that Triton's Python backend loads, whatever the step."""

from __future__ import annotations

import gc
import json
import traceback
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import triton_python_backend_utils as pb_utils  # pyright: ignore[reportMissingImports]

from ..counters import Counters
from ..request import RequestError
from ..step import OwnProcess, open_settings
from ..steps import catalogue_of, read_step
from .batching import BatchedStep, Outcome, answering
from .metrics import CatalogueGauges, Metrics, RestartCount, restarts_of
from .shape_guard import guard_shapes, read_strings_of

_utils: Any = pb_utils


class TritonPythonModel:
    """Hands requests to the step of this version's folder; a bad request fails alone, with a sentence."""

    def initialize(self, args: dict[str, str]) -> None:
        """Open the step. Triton shows what is raised here as the reason that the model is not ready."""
        self._name = args["model_name"]
        guard_shapes(_utils)
        self._counters = Counters()
        folder = Path(args["model_repository"]) / args["model_version"]
        settings = read_step(folder)
        step = open_settings(folder, settings, OwnProcess(self._counters))
        self._answer_all = answering(step)
        labels = {"model": self._name, "version": args["model_version"]}
        self._metrics = Metrics(_utils, self._counters, labels)
        self._catalogue = CatalogueGauges(_utils, labels, catalogue_of(settings))
        self._restarts = RestartCount(_utils, labels, args["model_instance_name"], restarts_of(self._name))
        self._load_shedding = step.load_shedding if isinstance(step, BatchedStep) else None
        self._warming = True  # Triton's first request warms up
        # What was loaded stays: no collection has to look through it again.
        gc.collect()
        gc.freeze()

    def execute(self, requests: Sequence[Any]) -> list[Any] | None:
        """Answer each request, in order; refuse those that are more than the step takes.

        Triton's own limit on its queue is not used: it costs a request up to 500 ms (docs/tuning.md).

        Returns the answers, or None where they were sent: refusals do not wait until the others are answered.
        """
        warming, count = self._warming, len(requests)
        if self._load_shedding is None:
            self._warming = False
        else:
            count = self._load_shedding.begin(len(requests))
            warming = self._load_shedding.warming
            self._refuse(requests[count:], len(requests))
        answers = self._answers(requests[:count])
        if self._load_shedding is not None:
            self._load_shedding.end(count)
        if warming:
            self._counters.take()  # nobody asked
        else:
            self._metrics.send_if_due()
        if count == len(requests):
            return answers
        for request, answer in zip(requests, answers, strict=False):
            _send(request, answer)
        return None

    def _answers(self, requests: Sequence[Any]) -> list[Any]:
        outcomes = self._answer_all([self._read(request) for request in requests])
        return [self._response(outcome, request) for outcome, request in zip(outcomes, requests, strict=True)]

    def _refuse(self, requests: Sequence[Any], waiting: int) -> None:
        if not requests:
            return
        self._counters.refused("busy", len(requests))
        # Triton's own words first, which callers may look for.
        what = f"Exceeds maximum queue size: {waiting} requests waited for {self._name}, which keeps {waiting - len(requests)}"
        for request in requests:
            _send(request, _failure(f"{what}; ask again later", _utils.TritonError.UNAVAILABLE))

    def _read(self, request: Any) -> dict[str, Any]:
        # Not by get_input_tensor_by_name, which looks through all of them for each.
        return {tensor.name(): read_strings_of(tensor.as_numpy()) for tensor in request.inputs()}

    def _response(self, outcome: Outcome, request: Any) -> Any:
        if isinstance(outcome, RequestError):
            self._counters.refused("invalid")
            return _failure(str(outcome), _utils.TritonError.INVALID_ARG)
        if isinstance(outcome, Exception):
            self._counters.refused("fault")
            _utils.Logger.log_error(self._fault(outcome, request.request_id()))
            what = f"step {self._name} failed: {type(outcome).__name__}: {outcome}"
            return _failure(what, _utils.TritonError.INTERNAL)
        return _utils.InferenceResponse(
            [_utils.Tensor(name, np.ascontiguousarray(values)) for name, values in outcome.items()]
        )

    def _fault(self, error: Exception, request_id: str) -> str:
        """What went wrong as a line of JSON; it holds no tensor."""
        what = {"event": "fault", "model": self._name, "request_id": request_id}
        return json.dumps({**what, "traceback": "".join(traceback.format_exception(error))})


def _send(request: Any, response: Any) -> None:
    request.get_response_sender().send(response, flags=_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL)


def _failure(message: str, code: Any) -> Any:
    return _utils.InferenceResponse(error=_utils.TritonError(message, code))
