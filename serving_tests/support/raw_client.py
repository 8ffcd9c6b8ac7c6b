"""Asks a running Triton with raw tensors over either protocol: what a caller without our client does."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import tritonclient.grpc as triton_grpc
import tritonclient.http as triton_http
from tritonclient.utils import InferenceServerException, np_to_triton_dtype

OUTPUTS = ("item_ids", "scores", "status")


class Refused(Exception):  # noqa: N818
    """The server's sentence. status: that of HTTP, or gRPC's code."""

    def __init__(self, sentence: str, status: str) -> None:
        super().__init__(sentence)
        self.status = status


@dataclasses.dataclass(frozen=True)
class Answer:
    """item_ids [B, K], scores [B, K], status: one word per session; heads: all other outputs."""

    item_ids: np.ndarray
    scores: np.ndarray
    status: list[str]
    heads: dict[str, np.ndarray] = dataclasses.field(default_factory=dict)


class RawClient:
    """One protocol, one model."""

    def __init__(self, protocol: str, url: str, model: str) -> None:
        self.protocol = protocol
        self.model = model
        self._module = triton_http if protocol == "http" else triton_grpc
        self._client = self._module.InferenceServerClient(url.split("//")[1])

    def ask(self, tensors: Mapping[str, np.ndarray]) -> Answer:
        """Send the tensors as they are. Raises Refused."""
        inputs = []
        for name, values in tensors.items():
            tensor = self._module.InferInput(name, list(values.shape), np_to_triton_dtype(values.dtype))
            tensor.set_data_from_numpy(values)
            inputs.append(tensor)
        try:
            result = self._client.infer(self.model, inputs)
        except InferenceServerException as error:
            raise Refused(error.message(), str(error.status()).removeprefix("StatusCode.")) from None
        ids, scores, status = (result.as_numpy(name) for name in OUTPUTS)
        if ids.dtype == object:
            ids = np.array([[value.decode() for value in row] for row in ids], dtype=object).reshape(ids.shape)
        heads = {name: result.as_numpy(name) for name in self._names(result) if name not in OUTPUTS}
        return Answer(ids, scores, [value.decode() for value in status[:, 0]], heads)

    def _names(self, result: triton_http.InferResult | triton_grpc.InferResult) -> list[str]:
        response = result.get_response()
        if self.protocol == "http":
            return [output["name"] for output in response["outputs"]]
        return [output.name for output in response.outputs]

    def alive(self) -> bool:
        """Whether server and model are ready."""
        return self._client.is_server_ready() and self._client.is_model_ready(self.model)

    def close(self) -> None:
        """Close the connection."""
        self._client.close()
