"""HTTP for Client: urllib3's pool of connections, which threads share."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import urllib3
from urllib3.exceptions import (
    ConnectTimeoutError,
    EmptyPoolError,
    HTTPError,
    IncompleteRead,
    NewConnectionError,
    ProtocolError,
    ProxyError,
    ReadTimeoutError,
)

from nextitem_client._exceptions import ServerError
from nextitem_client._settings import Settings, ssl_context
from nextitem_client._transport import Inference, Reply
from nextitem_client._transport.address import Address
from nextitem_client._transport.errors import from_os_error, from_proxy, no_connection, no_free_connection, timed_out
from nextitem_client._transport.http import HttpCodec, HttpRequest, HttpResponse, ResponseBody

_CHUNK_BYTES = 1 << 16
_LEAST_S = 1e-3  # a timeout of 0 would mean: do not wait at all


class _Until(urllib3.Timeout):
    """Of whatever is still to do, all until one point in time; a connection takes `connect_timeout_s` at most."""

    def __init__(self, deadline: float, connect_timeout_s: float):
        super().__init__()
        self._deadline = deadline
        self._longest_connect_s = connect_timeout_s

    def clone(self) -> _Until:
        """See urllib3.Timeout."""
        return _Until(self._deadline, self._longest_connect_s)

    @property
    def connect_timeout(self) -> float:
        """Seconds for a connection."""
        return min(self._longest_connect_s, self.read_timeout)

    @property
    def read_timeout(self) -> float:
        """Seconds for what is to be read."""
        return max(self._deadline - time.monotonic(), _LEAST_S)


class HttpTransport:
    """See Transport."""

    def __init__(self, address: Address, settings: Settings):
        self._address = address
        self._settings = settings
        self._codec = HttpCodec(address, settings)
        pool, self._prefix = _pool(address, settings)
        self._pool: Any = pool  # whose annotation of pool_timeout knows whole seconds alone

    def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        return self._codec.read_ready(self.exchange(self._codec.statistics_request(), timeout_s))

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        return self._codec.read_parameters(self.exchange(self._codec.config_request(model), timeout_s))

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        request = self._codec.infer_request(inference)
        return self._codec.read_reply(self.exchange(request, timeout_s), inference)

    def close(self) -> None:
        """See Transport."""
        self._pool.close()

    def exchange(self, request: HttpRequest, timeout_s: float) -> HttpResponse:
        """Send a request and read the response to its end, all within `timeout_s`. Raises ServerError's family."""
        until = _Until(time.monotonic() + timeout_s, self._settings.connect_timeout_s)
        try:
            response: urllib3.BaseHTTPResponse = self._pool.urlopen(
                request.method,
                self._prefix + request.path,
                body=request.body or None,
                headers=dict(request.headers),
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=until,
                pool_timeout=timeout_s,
                preload_content=False,
                decode_content=False,
            )
            return self._read(response, until)
        except EmptyPoolError:
            raise no_free_connection(self._address, self._settings.pool_size, timeout_s) from None
        except ConnectTimeoutError:
            if until.read_timeout > _LEAST_S:
                raise no_connection(self._address, self._settings.connect_timeout_s) from None
            raise timed_out(self._address, self._settings.timeout_s) from None
        except (HTTPError, OSError, ValueError) as error:
            raise self._as_server_error(error) from None

    def _read(self, response: urllib3.BaseHTTPResponse, until: _Until) -> HttpResponse:
        """The response to its end, however slowly it drips."""
        body = ResponseBody(self._address)
        connection: Any = response.connection  # what it goes back to the pool from, at its last byte
        try:
            while True:
                if connection is not None and connection.sock is not None:
                    connection.sock.settimeout(until.read_timeout)
                part = response.read1(_CHUNK_BYTES)
                if not part:
                    break
                body.add(part)
                if until.read_timeout <= _LEAST_S:
                    raise timed_out(self._address, self._settings.timeout_s)
        except BaseException:
            response.close()
            raise
        finally:
            response.release_conn()
        return HttpResponse(
            response.status, {name.lower(): value for name, value in response.headers.items()}, body.whole()
        )

    def _as_server_error(self, error: Exception) -> ServerError:
        """urllib3's errors hold those of socket, ssl and http.client."""
        if isinstance(error, ReadTimeoutError):
            return timed_out(self._address, self._settings.timeout_s)
        if isinstance(error, ProxyError):
            return from_proxy(self._address, str(error.original_error))
        cause = error.__cause__ if isinstance(error, NewConnectionError) else None
        if isinstance(error, ProtocolError) and len(error.args) > 1:
            cause = error.args[1]
        if isinstance(cause, IncompleteRead):
            told, expected = int(cause.partial), int(cause.partial) + int(cause.expected or 0)
            cause = ConnectionResetError(f"the connection ended after {told} of {expected} bytes")
        if isinstance(error, urllib3.exceptions.SSLError) and error.args and isinstance(error.args[0], Exception):
            cause = error.args[0]
        return from_os_error(self._address, cause if isinstance(cause, Exception) else error, self._settings.timeout_s)


def _pool(address: Address, settings: Settings) -> tuple[urllib3.HTTPConnectionPool, str]:
    """The pool, and what stands before the path in a request: through a proxy without TLS the server's whole URL."""
    options: dict[str, Any] = {"maxsize": settings.pool_size, "block": True}
    if address.tls:
        options["ssl_context"] = ssl_context(settings.tls)
    scheme = "https" if address.tls else "http"
    if address.proxy is None:
        kind = urllib3.HTTPSConnectionPool if address.tls else urllib3.HTTPConnectionPool
        return kind(address.bracketed_host, address.port, **options), ""
    credentials = address.proxy.credentials
    headers = urllib3.make_headers(proxy_basic_auth=credentials) if credentials is not None else None
    manager = urllib3.ProxyManager(address.proxy.shown, num_pools=1, proxy_headers=headers, **options)
    pool = manager.connection_from_host(address.bracketed_host, address.port, scheme)
    return pool, "" if address.tls else f"http://{address.target}"
