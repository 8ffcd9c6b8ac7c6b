"""Stand between client and Triton in tests: forward, count, and fail on demand."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import socket
import ssl
import struct
import threading
from collections.abc import Iterator
from concurrent import futures
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

RESET = "reset"  # instead of an answer


@dataclass
class Seen:
    """One request that came by."""

    path: str
    headers: dict[str, str]
    body: bytes = b""


@dataclass
class Gateway:
    """`script`: what the next requests get instead of being forwarded; None forwards one."""

    url: str
    script: list[Any] = field(default_factory=list)
    requests: list[Seen] = field(default_factory=list)
    connections: int = 0

    def next(self) -> Any:
        return self.script.pop(0) if self.script else None


@contextlib.contextmanager
def http_gateway(target: str, context: ssl.SSLContext | None = None) -> Iterator[Gateway]:
    """`script` holds (status, headers, body) or RESET."""
    aim = urlsplit(target)
    gateway = Gateway("")

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def setup(self) -> None:
            if context is not None:
                self.request = context.wrap_socket(self.request, server_side=True)
            super().setup()
            gateway.connections += 1
            self.triton = http.client.HTTPConnection(aim.hostname, aim.port, timeout=20)

        def finish(self) -> None:
            with contextlib.suppress(OSError, ValueError):
                super().finish()
            self.triton.close()

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            gateway.requests.append(Seen(self.path, headers, body))
            given = gateway.next()
            if given == RESET:
                linger = struct.pack("ii", 1, 0)
                self.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                self.close_connection = True
                self.request.close()
                return
            if given is None:
                self.triton.request(self.command, self.path, body or None, dict(self.headers.items()))
                answer = self.triton.getresponse()
                given = (answer.status, dict(answer.getheaders()), answer.read())
            status, sent, content = given
            self.send_response(status)
            for name, value in sent.items():
                if name.lower() not in ("content-length", "transfer-encoding"):
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = handle_any  # noqa: N815 -- http.server's names

        def log_message(self, format: str, *arguments: Any) -> None: ...

    class Server(http.server.ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False

        def handle_error(self, request: Any, client_address: Any) -> None: ...

    server = Server(("127.0.0.1", 0), Handler)
    gateway.url = f"{'https' if context else 'http'}://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield gateway
    finally:
        server.shutdown()
        server.server_close()


@contextlib.contextmanager
def grpc_gateway(target: str) -> Iterator[Gateway]:
    """`script` holds (name of a status, details)."""
    import grpc

    gateway = Gateway("")
    channel = grpc.insecure_channel(urlsplit(target).netloc)

    class Forward(grpc.GenericRpcHandler):
        def service(self, call: Any) -> Any:
            metadata = {str(one.key): str(one.value) for one in call.invocation_metadata}

            def answer(request: bytes, context: Any) -> bytes:
                gateway.requests.append(Seen(call.method, metadata, request))
                given = gateway.next()
                if given is not None:
                    context.abort(getattr(grpc.StatusCode, given[0]), given[1])
                try:
                    return channel.unary_unary(call.method)(request, timeout=20)
                except grpc.RpcError as error:
                    context.abort(error.code(), error.details())
                    raise AssertionError("abort raises") from None

            return grpc.unary_unary_rpc_method_handler(answer)

    server = grpc.server(futures.ThreadPoolExecutor(8), handlers=[Forward()])
    gateway.url = f"grpc://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield gateway
    finally:
        server.stop(None)
        channel.close()


@contextlib.contextmanager
def gateway_to(server: Any, protocol: str) -> Iterator[Gateway]:
    """A gateway of either protocol."""
    if protocol == "http":
        with http_gateway(server.http_url) as gateway:
            yield gateway
    else:
        with grpc_gateway(server.grpc_url) as gateway:
            yield gateway
