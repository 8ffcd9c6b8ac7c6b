"""Model control of a running Triton, over HTTP: loading a model anew, and which version answers."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

from ._errors import ControlError

#: The header that nextitem-serve closes model control with.
KEY_HEADER = "nextitem-control-key"
#: The longest that loading one model may take.
LOAD_TIMEOUT_S = 1800.0
_ASK_TIMEOUT_S = 30.0
#: How long a model may fail to answer: nextitem-serve needs some seconds to start a dead process again.
ANSWER_WITHIN_S = 15.0
_ASK_AGAIN_AFTER_S = 0.5
_BUSY = (429, 503)  # it answers, if not us
_EMPTY = {"BYTES": "", "FP32": 0.0}


class ModelControl:
    """The model control of the server at `url` (http://host:8000), opened by `key` where it is closed."""

    def __init__(self, url: str, key: str | None = None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ControlError(f"url is '{url}', expected the server's HTTP address, such as http://127.0.0.1:8000")
        self.url = url
        self._headers = {KEY_HEADER: key} if key else {}
        self._tls = parts.scheme == "https"
        self._host, self._path = parts.netloc, parts.path.rstrip("/")

    def check(self) -> None:
        """Raise ControlError unless models may be loaded with this key."""
        self._control("POST", "/v2/repository/index", "the index of models")

    def load(self, model: str) -> None:
        """Have the server read a model's folder again and load what is new in it; what it has answers until then."""
        self._control("POST", f"/v2/repository/models/{quote(model, safe='')}/load", f"loading {model}", LOAD_TIMEOUT_S)

    def answering(self, model: str) -> tuple[int, ...]:
        """The versions of a model that answer requests; () if there is none."""
        status, body = self._request("GET", f"/v2/models/{quote(model, safe='')}", _ASK_TIMEOUT_S)
        if status != 200:
            return ()
        return tuple(sorted(int(version) for version in json.loads(body).get("versions", [])))

    def ask(self, model: str, request: Mapping[str, Any]) -> None:
        """Raise ControlError unless the model answers: that it is ready says nothing of its processes.

        request: its signature's part of the manifest. The session that is asked is an empty one.
        """
        question = _empty_session(request["features"])
        deadline = time.monotonic() + ANSWER_WITHIN_S
        while True:
            status, body = self._request("POST", f"/v2/models/{quote(model, safe='')}/infer", _ASK_TIMEOUT_S, question)
            if status == 200 or status in _BUSY:
                return
            if time.monotonic() > deadline:
                raise ControlError(
                    f"the server at {self.url} has '{model}' loaded and gives no answer with it: HTTP {status}, "
                    f"{_error(body).rstrip('.')}. Look at the server's log, and start it again"
                )
            time.sleep(_ASK_AGAIN_AFTER_S)

    def _control(self, method: str, path: str, what: str, timeout_s: float = _ASK_TIMEOUT_S) -> None:
        status, body = self._request(method, path, timeout_s, b"{}" if method == "POST" else None)
        if status == 200:
            return
        error = _error(body)
        if status in (401, 403):
            sent = "the key that was sent is another one" if self._headers else "no key was sent"
            raise ControlError(
                f"the server at {self.url} keeps model control closed, and {sent} ({error}): give the key that "
                "nextitem-serve was started with, activate_bundle(key=…), and the address of the server itself, since a load "
                "balancer lets nothing of this through"
            )
        if "not allowed" in error or status == 404:
            error = f"{error}; it has to run with explicit model control, as nextitem-serve starts it"
        raise ControlError(f"the server at {self.url} refused {what}: HTTP {status}, {error}")

    def _request(self, method: str, path: str, timeout_s: float, content: bytes | None = None) -> tuple[int, bytes]:
        # http.client rather than urllib: a proxy of the environment has no business here.
        kind = http.client.HTTPSConnection if self._tls else http.client.HTTPConnection
        connection = kind(self._host, timeout=timeout_s)
        try:
            connection.request(method, self._path + path, content, self._headers)
            response = connection.getresponse()
            return response.status, response.read()
        except (OSError, http.client.HTTPException) as error:
            raise ControlError(
                f"the server at {self.url} does not answer ({type(error).__name__}: {error}): is it running, and is this "
                "its HTTP address? Without url the version is activated for the next start"
            ) from error
        finally:
            connection.close()


def _empty_session(features: Sequence[Mapping[str, str]]) -> bytes:
    """A request for one session without an interaction, as JSON."""
    lengths = {"name": "session_length", "datatype": "INT32", "shape": [1, 1], "data": [0]}
    columns = [
        {"name": one["name"], "datatype": one["datatype"], "shape": [1, 1], "data": [_EMPTY.get(one["datatype"], 0)]}
        for one in features
    ]
    return json.dumps({"inputs": [lengths, *columns]}).encode()


def _error(body: bytes) -> str:
    try:
        document: Any = json.loads(body)
        return str(document["error"]).split("\n\nAt:")[0].strip()  # where in the bundle's code says the server's log
    except (ValueError, KeyError, TypeError):
        return body[:200].decode("utf-8", errors="replace").strip() or "without a reason"


def read_key(file: str) -> str:
    """The key in a file, which nextitem-serve reads too. Raises ControlError."""
    try:
        key = Path(file).read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ControlError(f"the key file {file} cannot be read ({error}): give the one of nextitem-serve") from error
    if not key:
        raise ControlError(
            f"the key file {file} is empty: give the one of nextitem-serve, which makes it where it is missing"
        )
    return key
