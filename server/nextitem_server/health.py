"""Asks a running Triton over HTTP: ready or not, which models, which of them clients call."""

from __future__ import annotations

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

SIGNATURE = "nextitem.signature"


@dataclass(frozen=True)
class ModelState:
    """One model of the repository.

    Attributes:
        name: the model's name.
        version: the version that is loaded.
        state: Triton's word: READY, UNAVAILABLE, LOADING, UNLOADING; empty if the model was never loaded.
        reason: why the model is not ready; empty otherwise.
        called: clients call this model. A step of a bundle is not called.
    """

    name: str
    version: str
    state: str
    reason: str
    called: bool


def is_ready(host: str, port: int) -> bool:
    """Whether the server and all its models answer requests."""
    try:
        return request(host, port, "GET", "/v2/health/ready")[0] == 200
    except OSError:
        return False


def metrics_answer(host: str, port: int) -> bool:
    """Whether Prometheus metrics can be read."""
    try:
        return request(host, port, "GET", "/metrics", timeout_s=1.0)[0] == 200
    except OSError:
        return False


def list_models(host: str, port: int, headers: Mapping[str, str]) -> list[ModelState]:
    """All models that the server knows, in its order; raises OSError where it does not answer.

    headers: with the key to the list, where that is closed.
    """
    _, body = request(host, port, "POST", "/v2/repository/index", headers=headers)
    return [
        ModelState(
            name=entry["name"],
            version=entry.get("version", ""),
            state=entry.get("state", ""),
            reason=entry.get("reason", ""),
            called=entry.get("state") == "READY" and _has_signature(host, port, entry["name"]),
        )
        for entry in json.loads(body)
    ]


def _has_signature(host: str, port: int, model: str) -> bool:
    status, body = request(host, port, "GET", f"/v2/models/{model}/config")
    parameters: dict[str, Any] = json.loads(body).get("parameters", {}) if status == 200 else {}
    return SIGNATURE in parameters


def is_model_ready(host: str, port: int, model: str, version: str) -> bool:
    """Whether Triton holds a version of a model for ready; raises OSError where it does not answer."""
    return request(host, port, "GET", f"/v2/models/{quote(model, safe='')}/versions/{version}/ready")[0] == 200


def request(
    host: str,
    port: int,
    method: str,
    path: str,
    timeout_s: float = 5.0,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
) -> tuple[int, bytes]:
    """Status and body of an answer; raises OSError where there is none."""
    # http.client rather than urllib: a proxy of the environment has no business here.
    connection = http.client.HTTPConnection(host, port, timeout=timeout_s)
    try:
        connection.request(method, path, body, headers or {})
        response = connection.getresponse()
        return response.status, response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"no proper HTTP answer: {error}") from error
    finally:
        connection.close()
