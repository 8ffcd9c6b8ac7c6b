"""Connections of http.client that are kept open and shared by threads."""

from __future__ import annotations

import http.client
import os
import select
import socket
import ssl
import threading
import time

from nextitem_client._http import HttpRequest, HttpResponse

_CHUNK_BYTES = 1 << 16


class NotConnectedError(OSError):
    """No connection within `timeout_s`."""

    def __init__(self, timeout_s: float):
        super().__init__(f"no connection within {timeout_s:g} s")
        self.timeout_s = timeout_s


class PoolBusyError(Exception):
    """All connections are in use."""


class ConnectionPool:
    """At most `size` connections to one server; what was used last is used first."""

    def __init__(self, host: str, port: int, size: int, connect_timeout_s: float, context: ssl.SSLContext | None):
        self._host = host
        self._port = port
        self._connect_timeout_s = connect_timeout_s
        self._context = context
        self._free = threading.BoundedSemaphore(size)
        self._idle: list[http.client.HTTPConnection] = []
        self._process = os.getpid()
        self._closed = False

    def exchange(self, request: HttpRequest, timeout_s: float) -> HttpResponse:
        """Send a request and read the response to its end.

        Raises OSError (NotConnectedError, socket.timeout …), http.client.HTTPException, PoolBusyError.
        """
        deadline = time.monotonic() + timeout_s
        if not self._free.acquire(timeout=timeout_s):
            raise PoolBusyError
        try:
            connection = self._open_connection(deadline)
            try:
                response, reusable = _exchange(connection, request, deadline)
            except BaseException:
                connection.close()
                raise
            if reusable and not self._closed:
                self._idle.append(connection)
            else:
                connection.close()
            return response
        finally:
            self._free.release()

    def close(self) -> None:
        """Close what is idle; what is in use closes after its request."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _open_connection(self, deadline: float) -> http.client.HTTPConnection:
        if os.getpid() != self._process:  # after a fork the parent's connections are the parent's
            self._idle, self._process = [], os.getpid()
        while self._idle:
            try:
                connection = self._idle.pop()
            except IndexError:  # another thread was faster
                break
            if connection.sock is not None and not _is_readable(connection.sock):
                return connection
            connection.close()  # the server has closed it meanwhile
        return self._connect(deadline)

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        remaining_s = _remaining_s(deadline)
        timeout_s = min(self._connect_timeout_s, remaining_s)
        connection: http.client.HTTPConnection
        if self._context is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout_s)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout_s, context=self._context)
        try:
            connection.connect()
        except socket.timeout:
            connection.close()
            if timeout_s < remaining_s:
                raise NotConnectedError(timeout_s) from None
            raise
        except BaseException:
            connection.close()
            raise
        return connection


def _exchange(
    connection: http.client.HTTPConnection, request: HttpRequest, deadline: float
) -> tuple[HttpResponse, bool]:
    sock = connection.sock
    sock.settimeout(_remaining_s(deadline))
    connection.request(request.method, request.path, body=request.body or None, headers=dict(request.headers))
    response = connection.getresponse()
    parts: list[bytes] = []
    while not response.isclosed():  # from Python 3.13 on it closes with the last byte, earlier with the read after it
        sock.settimeout(_remaining_s(deadline))
        part = response.read1(_CHUNK_BYTES)
        if not part:
            break
        parts.append(part)
    response.close()  # it is at its end: the connection is free for the next request
    headers = {name.lower(): value for name, value in response.getheaders()}
    expected = headers.get("content-length")
    body = b"".join(parts)
    if expected is not None and len(body) < int(expected):
        raise http.client.RemoteDisconnected(f"the connection ended after {len(body)} of {expected} bytes")
    return HttpResponse(response.status, headers, body), not response.will_close


def _remaining_s(deadline: float) -> float:
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise socket.timeout("timed out")
    return remaining


def _is_readable(sock: socket.socket) -> bool:
    """An idle connection has nothing to read, unless the other side closed it."""
    if hasattr(select, "poll"):
        poll = select.poll()
        poll.register(sock, select.POLLIN)
        return bool(poll.poll(0))
    return bool(select.select([sock], [], [], 0)[0])
