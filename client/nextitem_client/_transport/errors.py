"""What goes wrong on the way to a server and back → the errors of this package."""

from __future__ import annotations

import http.client
import re
import socket
import ssl

from nextitem_client._exceptions import (
    AccessDenied,
    ModelNotFound,
    RequestRejected,
    ServerBusy,
    ServerError,
    ServerTimeout,
    ServerUnavailable,
    UntrustedServer,
    WrongProtocol,
)
from nextitem_client._transport.address import Address

# Triton's own words, in HTTP's 503 and gRPC's UNAVAILABLE: the queue was full, or the request waited in it too long.
_OVERLOAD = ("maximum queue size", "Request timeout expired")
# … in its 500 and INTERNAL, after a second: the process of a step has died, and nextitem-serve starts another one.
_DEAD_PROCESS = re.compile("[Ss]tub process .*(?:not healthy|unhealthy)")
# … and for a model that is unloaded but in the repository, as one is that is being loaded anew.
_UNLOADED = "has no available versions"
# A proxy's answer, and not a part of an address or of another number.
_ASKED_WHO = re.compile(r"(?<![\d:.])407(?!\.?\d)")
# How OpenSSL (Python's, and BoringSSL in gRPC) and gRPC name what is wrong with a certificate.
_CERTIFICATE_TROUBLE = (
    "CERTIFICATE_VERIFY_FAILED", "CERTIFICATE_REQUIRED", "BAD_CERTIFICATE", "UNKNOWN_CA", "CERTIFICATE_UNKNOWN",
    "HOSTNAME VERIFICATION", "PEER CERTIFICATE",
)  # fmt: skip
_RESTRICTED = "is restricted, expecting header"  # … where an API or protocol is restricted
# The SETTINGS frame with which a gRPC port opens, as http.client (raw) and aiohttp (escaped) quote it.
_HTTP2_SETTINGS = re.compile(r"(?:\x00|\\+x00){2}(?:\\+x..|[^\\])(?:\x04|\\+x04)(?:\x00|\\+x00){5}", re.DOTALL)
# … and what gRPC says where the other side does not speak it: Triton's HTTP, TLS or its lack, another web server.
_NO_GRPC = ("Socket closed", "andshake failed", "Failed parsing HTTP/2", "http1.x server")
_SHOWN_CHARACTERS = 200  # of what others say


def from_http_status(
    address: Address, status: int, message: str | None, body: str, retry_after: str | None = None
) -> ServerError:
    """An HTTP response that is not 200; `message` is what Triton's JSON says, None where it is none."""
    text = message if message is not None else f"HTTP status {status}: {_one_line(body)}"
    if status == 407:
        return from_proxy(address, text)
    if status in (401, 403):
        return _denied(address, text)
    if status == 429 or _means_overload(text):
        error = _busy(address, _own_words(text))
        error.retryable = status != 429
        error.retry_after_s = _seconds(retry_after)
        return error
    if _DEAD_PROCESS.search(text):
        return _lost_process(address, text)
    if _means_no_model(text) and status in (400, 404):
        return _no_model(text)
    if status in (502, 503, 504):
        unavailable = _unavailable(address, text)
        unavailable.retry_after_s = _seconds(retry_after)
        return unavailable
    if message is None or status in (404, 405):  # an HTTP server, but not Triton's: its metrics, for instance
        return wrong_protocol(address, text)
    return RequestRejected(_own_words(text))


def from_grpc_status(address: Address, code: str, text: str, timeout_s: float) -> ServerError:
    """A gRPC status such as UNAVAILABLE, and its details."""
    if code == "DEADLINE_EXCEEDED":
        return timed_out(address, timeout_s)
    if code in ("UNAUTHENTICATED", "PERMISSION_DENIED") or _RESTRICTED in text:
        return _denied(address, text)
    if code == "RESOURCE_EXHAUSTED" and "larger than max" not in text:
        error = _busy(address, text)
        error.retryable = False
        return error
    if _DEAD_PROCESS.search(text):
        return _lost_process(address, text)
    if _means_no_model(text):
        return _no_model(text)
    if code == "UNAVAILABLE":
        return _from_unavailable(address, text)
    if code == "UNIMPLEMENTED":  # a gRPC server, but not Triton's
        return wrong_protocol(address, text)
    return RequestRejected(_own_words(text))


def from_os_error(address: Address, error: Exception, timeout_s: float) -> ServerError:
    """What a socket, TLS or http.client raised."""
    text = str(error) or type(error).__name__
    if isinstance(error, ConnectionError):  # http.client.RemoteDisconnected is one as well
        return _unavailable(address, text)
    if isinstance(error, socket.timeout):
        return timed_out(address, timeout_s)
    if _names_certificate(text):
        return untrusted(address, text)
    if isinstance(error, ssl.SSLEOFError):
        return handshake_cut(address)
    if isinstance(error, (http.client.HTTPException, ValueError, ssl.SSLError)):
        return wrong_protocol(address, text)
    return _unavailable(address, text)


def from_proxy(address: Address, detail: str) -> ServerError:
    """The proxy would not, or could not, connect us with the server."""
    if _ASKED_WHO.search(detail) and address.proxy is not None:
        return AccessDenied(
            f"The proxy {address.proxy.shown} wants to know who asks ({_one_line(detail)}). Put user and password into the "
            f"environment's {address.proxy.variable}, http://user:password@host:port, or list the server in no_proxy."
        )
    return _unavailable(address, detail)


def no_connection(address: Address, timeout_s: float) -> ServerUnavailable:
    """Not even connected within `connect_timeout_s`."""
    return _unavailable(address, f"no connection within {timeout_s:g} s")


def timed_out(address: Address, timeout_s: float) -> ServerTimeout:
    """The time for one request ran out."""
    return ServerTimeout(
        f"{address.url} did not answer within {timeout_s:g} s. The server may be overloaded or "
        "still loading; try again, send fewer sessions at once, or raise timeout_s."
    )


def no_free_connection(address: Address, pool_size: int, timeout_s: float) -> ServerTimeout:
    """All connections were in use all the time."""
    return ServerTimeout(
        f"None of the {pool_size} connections to {address.url} became free within {timeout_s:g} s. "
        "Ask from fewer threads, or raise pool_size or timeout_s."
    )


def wrong_protocol(address: Address, detail: str) -> WrongProtocol:
    """Somebody answers, but not what this protocol's Triton would."""
    ours, theirs = ("HTTP", "grpc") if address.protocol == "http" else ("gRPC", "http")
    other, tls = (f"{theirs}s", "without") if address.tls else (theirs, "with")
    told = "it answers in HTTP/2, as gRPC does" if _HTTP2_SETTINGS.search(detail) else _one_line(detail)
    return WrongProtocol(
        f"What listens at {address.url} does not speak Triton's {ours} ({told}). Is it {other}://{address.target}, "
        "another port (8000 is HTTP, 8001 gRPC, 8002 metrics, unless set otherwise), or a URL "
        f"{tls} TLS?{_client_certificate(address)}"
    )


def handshake_cut(address: Address) -> WrongProtocol:
    """The other side closed the connection at the first bytes of TLS."""
    error = wrong_protocol(address, "it ends the connection when TLS begins")
    error.retryable = True  # or a server that is just going down
    return error


def untrusted(address: Address, detail: str) -> UntrustedServer:
    """TLS failed over a certificate."""
    return UntrustedServer(
        f"TLS with {address.url} failed over a certificate ({detail}). For an authority of your own give "
        "tls=Tls(ca_file=…), for a certificate with another name server_name=…, and where the server asks "
        "for a client's certificate certificate_file=… and key_file=…."
    )


def _from_unavailable(address: Address, text: str) -> ServerError:
    if address.proxy is not None and "proxy" in text.lower():
        return from_proxy(address, text)
    if _means_overload(text):
        return _busy(address, _own_words(text))
    if "connect" in text or "andshake" in text:
        if _names_certificate(text):
            return untrusted(address, text)
        if any(words in text for words in _NO_GRPC):
            error = wrong_protocol(address, text)
            error.retryable = "Socket closed" in text  # or a server that is just going down
            return error
    return _unavailable(address, text)


def _names_certificate(text: str) -> bool:
    upper = text.upper()
    return any(words in upper for words in _CERTIFICATE_TROUBLE)


def _means_overload(text: str) -> bool:
    return any(words in text for words in _OVERLOAD)


def _means_no_model(text: str) -> bool:
    return "unknown model" in text or "is not found" in text


def _no_model(text: str) -> ModelNotFound:
    error = ModelNotFound(text)
    error.retryable = _UNLOADED in text
    return error


def _one_line(text: str) -> str:
    # It may be a page of HTML, or bytes that were taken for text.
    shown = " ".join("".join(one if one.isprintable() else " " for one in text).split())
    return shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"


def _own_words(text: str) -> str:
    # "in ensemble 'shop', item_id: …": which step said it is nothing to the caller.
    if text.startswith("in ensemble '") and "', " in text:
        return text.split("', ", 1)[1]
    return text


def _seconds(retry_after: str | None) -> float | None:
    # The other form, a date, says less than our own pauses do.
    return float(retry_after) if retry_after is not None and retry_after.isdigit() else None


def _unavailable(address: Address, detail: str) -> ServerUnavailable:
    return ServerUnavailable(
        f"No server answers at {address.url} ({_one_line(detail)}). Is it running, and are host and port "
        f"right? nextitem-serve prints both URLs once it is ready.{_client_certificate(address)}"
    )


def _lost_process(address: Address, detail: str) -> ServerUnavailable:
    return ServerUnavailable(
        f"The server at {address.url} has lost a process of the model ({_one_line(detail)}). nextitem-serve starts another "
        "one within seconds: ask again, or raise retries and timeout_s. Under another server load the model anew."
    )


def _client_certificate(address: Address) -> str:
    # A server that misses it may just end the connection: TLS 1.3 has no other answer at that point.
    return " Or does it ask for a client's certificate (tls=Tls(certificate_file=…))?" if address.tls else ""


def _busy(address: Address, detail: str) -> ServerBusy:
    return ServerBusy(
        f"The server at {address.url} has too much to do ({detail}). Ask again later or less often; "
        "where that happens at times only, raise retries and timeout_s."
    )


def _denied(address: Address, detail: str) -> AccessDenied:
    return AccessDenied(
        f"The server at {address.url} denies access ({detail}). Give what it asks for in headers, "
        'such as headers={"authorization": "Bearer …"}.'
    )
