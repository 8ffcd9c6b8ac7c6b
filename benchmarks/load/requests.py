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


def kserve(model: str, signature: Signature, k: int) -> Protocol:
    """KServe v2 with the binary tensor extension, exactly as nextitem_client writes it."""
    codec = HttpCodec(parse_url("http://localhost:80"), Settings())

    def inference(session: Session) -> Inference:
        (tensors,) = build_requests([session], signature, k)
        return Inference(model, tensors, OUTPUTS, "0")

    def write(session: Session) -> bytes:
        request = codec.infer_request(inference(session))
        return _http(request.path, request.headers, request.body)

    def read(body: bytes) -> Answer:
        # The load generator keeps no headers: the length of the JSON part is where its JSON ends.
        _, end = json.JSONDecoder().raw_decode(body.decode("latin-1"))
        response = HttpResponse(200, {"inference-header-content-length": str(end)}, body)
        tensors = codec.read_reply(response, Inference(model, {}, OUTPUTS, "0")).tensors
        ids = [raw.decode() for raw in tensors["item_ids"][0]]
        return Answer(ids, tensors["scores"][0].tolist(), tensors["status"][0, 0].decode())

    return Protocol(write, read)


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
