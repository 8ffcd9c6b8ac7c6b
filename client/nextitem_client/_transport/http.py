"""KServe v2 over HTTP without the I/O: requests as bytes, responses as replies or errors.

The tensors' encoding is tritonclient's. Its connections are not used: they run on gevent, hold to
one thread each, leave a server's name unchecked or uncheckable depending on the version, and with
tritonclient 2.51 cannot do TLS from Python 3.12 on.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

from nextitem_client._settings import Settings
from nextitem_client._transport import Inference, Reply
from nextitem_client._transport.address import Address
from nextitem_client._transport.errors import from_http_status, wrong_protocol
from nextitem_client._transport.triton import arguments, half, reply

# Sessions repeat themselves: they shrink to a tenth already at the fastest level.
_GZIP_LEVEL = 1
_HEADER_LENGTH = "Inference-Header-Content-Length"
# As it came and unpacked: an answer has some kilobytes a session, so that what is larger is meant to fill our memory.
_MOST_BYTES = 1 << 28
# How zlib is to unpack a Content-Encoding; `deflate` is sent with and without zlib's header.
_PACKED: Mapping[str, tuple[int, ...]] = {
    "gzip": (16 + zlib.MAX_WBITS,),
    "x-gzip": (16 + zlib.MAX_WBITS,),
    "deflate": (zlib.MAX_WBITS, -zlib.MAX_WBITS),
}


@dataclass(frozen=True)
class HttpRequest:
    """Method, path on the server, headers and body."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True)
class HttpResponse:
    """Status, headers with names in lower case, and body as it came."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class ResponseBody:
    """Gathers a body as it comes. Raises WrongProtocol where it has no end."""

    def __init__(self, address: Address):
        self._address = address
        self._parts: list[bytes] = []
        self._size = 0

    def add(self, part: bytes) -> None:
        """Take what came."""
        self._size += len(part)
        if self._size > _MOST_BYTES:
            raise wrong_protocol(self._address, f"an answer of more than {_MOST_BYTES >> 20} MiB")
        self._parts.append(part)

    def whole(self) -> bytes:
        """All of it."""
        return b"".join(self._parts)


class HttpCodec:
    """Writes requests and reads responses; raises ServerError's family."""

    def __init__(self, address: Address, settings: Settings):
        self._address = address
        self._compress = settings.compression == "gzip"
        self._headers = {**settings.headers, "Accept-Encoding": "gzip" if self._compress else "identity"}
        self._module = half("http")

    def statistics_request(self) -> HttpRequest:
        """GET /v2/models/stats: of all ready models. (The repository's index is closed with the control of models.)"""
        return self._request("GET", "/v2/models/stats", b"")

    def read_ready(self, response: HttpResponse) -> list[str]:
        """The ready models."""
        statistics = cast("dict[str, Any]", self._json(response))
        return self._as_expected(lambda: sorted({str(entry["name"]) for entry in statistics["model_stats"]}))

    def config_request(self, model: str) -> HttpRequest:
        """GET /v2/models/<model>/config."""
        return self._request("GET", f"/v2/models/{quote(model, safe='')}/config", b"")

    def read_parameters(self, response: HttpResponse) -> Mapping[str, str]:
        """The `parameters` of a configuration."""
        config = cast("dict[str, Any]", self._json(response))
        return self._as_expected(
            lambda: {name: value.get("string_value", "") for name, value in config.get("parameters", {}).items()}
        )

    def infer_request(self, inference: Inference) -> HttpRequest:
        """POST /v2/models/<model>/infer."""
        inputs, outputs = arguments(self._module, inference)
        written = self._module.InferenceServerClient.generate_request_body(
            inputs, outputs=outputs, request_id=inference.request_id
        )
        body, json_size = cast("tuple[bytes, int | None]", written)
        headers: dict[str, str] = {"Content-Type": "application/octet-stream"}
        if json_size is not None:
            headers[_HEADER_LENGTH] = str(json_size)
        if self._compress:
            body = gzip.compress(body, _GZIP_LEVEL)
            headers["Content-Encoding"] = "gzip"
        return self._request("POST", f"/v2/models/{quote(inference.model, safe='')}/infer", body, headers)

    def read_reply(self, response: HttpResponse, inference: Inference) -> Reply:
        """The tensors of an answer."""
        self._require_success(response)

        def read() -> Reply:
            result = self._module.InferenceServerClient.parse_response_body(
                _decoded(response), header_length=response.headers.get(_HEADER_LENGTH.lower())
            )
            version = str(result.get_response().get("model_version", ""))
            return reply(result, inference.outputs, version)

        return self._as_expected(read)

    def _request(self, method: str, path: str, body: bytes, headers: Mapping[str, str] | None = None) -> HttpRequest:
        return HttpRequest(method, self._address.path + path, {**self._headers, **(headers or {})}, body)

    def _json(self, response: HttpResponse) -> Any:
        self._require_success(response)
        return self._as_expected(lambda: json.loads(_decoded(response)))

    def _as_expected(self, read: Any) -> Any:
        try:
            return read()
        except (ValueError, KeyError, TypeError, AttributeError, zlib.error) as error:
            detail = f"an answer that cannot be read: {type(error).__name__}: {error}"
            raise wrong_protocol(self._address, detail) from None

    def _require_success(self, response: HttpResponse) -> None:
        if response.status == 200:
            return
        try:
            text = _decoded(response).decode("utf-8", errors="replace")
        except (ValueError, zlib.error):
            text = ""
        raise from_http_status(
            self._address, response.status, _message(text), text, response.headers.get("retry-after")
        )


def _decoded(response: HttpResponse) -> bytes:
    """The body as it was before Content-Encoding. Raises ValueError, zlib.error."""
    body = response.body
    for encoding in reversed(response.headers.get("content-encoding", "").lower().split(",")):
        name = encoding.strip()
        if name in ("", "identity"):
            continue
        if name not in _PACKED:
            raise ValueError(f"Content-Encoding is {name!r}, expected is one of {', '.join(_PACKED)}")
        body = _unpacked(body, _PACKED[name])
    return body


def _unpacked(body: bytes, ways: tuple[int, ...]) -> bytes:
    first, *others = ways
    try:
        return _unpacked_by(body, first)
    except zlib.error:
        if not others:
            raise
    return _unpacked(body, tuple(others))


def _unpacked_by(body: bytes, way: int) -> bytes:
    """Every member of the stream, since gzip may have several."""
    parts: list[bytes] = []
    left = _MOST_BYTES
    while body:
        stream = zlib.decompressobj(way)
        parts.append(stream.decompress(body, left))
        left -= len(parts[-1])
        if stream.unconsumed_tail or left <= 0:
            raise ValueError(f"it unpacks to more than {_MOST_BYTES >> 20} MiB")
        if not stream.eof:
            raise ValueError("its packed body breaks off")
        body = stream.unused_data
    return b"".join(parts)


def _message(text: str) -> str | None:
    try:
        document: Any = json.loads(text)
    except ValueError:
        return None
    error: Any = cast("dict[str, Any]", document).get("error") if isinstance(document, dict) else None
    return error.strip() if isinstance(error, str) else None
