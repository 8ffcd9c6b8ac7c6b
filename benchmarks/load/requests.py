"""Sessions as ready HTTP/1.1 requests, and answers back, for each kind of server."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from nextitem_client import Signature
from nextitem_client._settings import Settings
from nextitem_client._transport import Inference
from nextitem_client._transport.address import parse_url
from nextitem_client._transport.http import HttpCodec, HttpResponse
from nextitem_client._wire import build_requests

OUTPUTS = ("item_ids", "scores", "status")
Session = Mapping[str, Sequence[Any]]


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a server recommends for one session, best first."""

    item_ids: Sequence[str | int]
    scores: list[float]
    status: str


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How sessions are asked: one whole request each, and the body of an answer read."""

    write: Callable[[Session], bytes]
    read: Callable[[bytes], Answer]


class Kserve:
    """KServe v2 with the binary tensor extension, exactly as nextitem_client writes it."""

    def __init__(self, model: str, signature: Signature, k: int) -> None:
        self._model, self._signature, self._k = model, signature, k
        self._codec = HttpCodec(parse_url("http://localhost:80"), Settings())

    def request(self, sessions: Sequence[Session]) -> tuple[str, dict[str, str], bytes]:
        """Path, headers and body of one request for all of these sessions."""
        (tensors,) = build_requests(sessions, self._signature, self._k)
        request = self._codec.infer_request(Inference(self._model, tensors, OUTPUTS, "0"))
        return request.path, dict(request.headers), request.body

    def answers(self, body: bytes) -> list[Answer]:
        """The answer to each session."""
        # The load generator keeps no headers: the length of the JSON part is where its JSON ends.
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        response = HttpResponse(200, {"inference-header-content-length": str(end)}, body)
        tensors = self._codec.read_reply(response, Inference(self._model, {}, OUTPUTS, "0")).tensors
        return [
            Answer([raw.decode() for raw in ids], scores, status.decode())
            for ids, scores, (status,) in zip(*(tensors[name].tolist() for name in OUTPUTS), strict=True)
        ]


def kserve(model: str, signature: Signature, k: int) -> Protocol:
    """One session a request, over KServe v2."""
    protocol = Kserve(model, signature, k)
    return Protocol(lambda session: _http(*protocol.request([session])), lambda body: protocol.answers(body)[0])


def plain_json() -> Protocol:
    """JSON both ways, as a service of one's own takes it."""

    def write(session: Session) -> bytes:
        body = json.dumps(dict(session), separators=(",", ":")).encode()
        return _http("/recommend", {"Content-Type": "application/json"}, body)

    return Protocol(write, lambda body: Answer(**json.loads(body)))


def _http(path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = [f"POST {path} HTTP/1.1", "Host: localhost", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode() + body
