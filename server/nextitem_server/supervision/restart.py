"""Has a running Triton start the processes of a model anew, with the versions and the configuration that it answers with.

Two ways. *In place*: Triton 24.10 replaces the processes of a model whose instance group has changed; requests wait in the
model's queue meanwhile, and processes that live go on answering until the new ones are ready. That takes the memory of old
and new at once. *From scratch*: the model is unloaded first; its requests fail until it is back. A plain load changes nothing,
as the model counts as ready.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from nextitem_server import health

#: The longest that loading one model may take.
LOAD_TIMEOUT_S = 1800.0
_LOOK_S = 0.05


class RestartFailedError(Exception):
    """Triton did not start the model anew; the text is its reason."""


@dataclass(frozen=True)
class ModelRestart:
    """The model control of the Triton at host and port. headers: with the key to it."""

    host: str
    port: int
    headers: Mapping[str, str]

    def config(self, model: str) -> dict[str, Any]:
        """The configuration that a model answers with. Raises RestartFailedError, OSError where the server does not answer.

        Not that of the repository, which may be ahead: activated for the next start.
        """
        self._wait_for_others()
        status, body = health.request(self.host, self.port, "GET", f"/v2/models/{quote(model, safe='')}/config")
        if status != 200:
            raise RestartFailedError(_reason(status, body))
        return json.loads(body)

    def in_place(self, model: str, config: Mapping[str, Any]) -> None:
        """Raises RestartFailedError, OSError where the server does not answer."""
        self._load(model, _with_another_group(config))

    def from_scratch(self, model: str, config: Mapping[str, Any]) -> None:
        """Raises RestartFailedError, OSError where the server does not answer."""
        self._control(model, "unload", {})
        self._load(model, config)  # not waited for: unloading a model with a dead process takes up to 15 s

    def _load(self, model: str, config: Mapping[str, Any]) -> None:
        self._control(model, "load", {"parameters": {"config": json.dumps(config)}})

    def _control(self, model: str, verb: str, document: Mapping[str, Any]) -> None:
        path = f"/v2/repository/models/{quote(model, safe='')}/{verb}"
        status, body = health.request(
            self.host, self.port, "POST", path, LOAD_TIMEOUT_S, self.headers, json.dumps(document).encode()
        )
        if status != 200:
            raise RestartFailedError(_reason(status, body))

    def _wait_for_others(self) -> None:
        """Until nobody loads a model: a configuration that is read before a switch of versions would undo it."""
        deadline = time.monotonic() + LOAD_TIMEOUT_S
        while time.monotonic() < deadline:
            status, body = health.request(self.host, self.port, "POST", "/v2/repository/index", headers=self.headers)
            if status != 200 or all(entry.get("state") != "LOADING" for entry in json.loads(body)):
                return
            time.sleep(_LOOK_S)


def _with_another_group(config: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration with instance groups that differ in what has no effect: priorities 0 and 1 mean the same."""
    groups = [{**group} for group in config.get("instance_group", [])]
    for group in groups:
        limiter = dict(group.get("rate_limiter", {}))
        priority = int(limiter.get("priority", 0))
        group["rate_limiter"] = {**limiter, "priority": {0: 1, 1: 0}.get(priority, priority + 1)}
    return {**config, "instance_group": groups}


def _reason(status: int, body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]).split("\n\nAt:")[0].strip()
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {status}"
