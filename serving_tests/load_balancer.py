"""The load balancer of docker-compose.yml as a process beside a server that runs here."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from nextitem_server import TritonServer

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
MAX_BODY_BYTES = 64 << 20


@dataclass(frozen=True)
class LoadBalancer:
    """The ports that it listens at."""

    http: int
    grpc: int


@contextmanager
def balanced(config: str, server: TritonServer, folder: Path) -> Iterator[LoadBalancer]:
    """HAProxy with this configuration in front of the server."""
    http, grpc, metrics = _free_ports(3)
    places = (
        (r"server-template replica \d+ replica:8000", f"server replica 127.0.0.1:{server.ports.http}"),
        (r"server-template replica \d+ replica:8001", f"server replica 127.0.0.1:{server.ports.grpc}"),
        (r"connect port 8000\b", f"connect port {server.ports.http}"),
        (r"bind :8000", f"bind 127.0.0.1:{http}"),
        (r"bind :8001", f"bind 127.0.0.1:{grpc}"),
        (r"bind :8404", f"bind 127.0.0.1:{metrics}"),
    )
    for place, here in places:
        config, found = re.subn(place, here, config)
        assert found, place
    file = folder / "haproxy.cfg"
    file.write_text(config)
    variables = {**os.environ, "LB_MAX_BODY_BYTES": str(MAX_BODY_BYTES), "LB_CERTIFICATE": "", "LB_API_KEYS": ""}
    assert HAPROXY is not None
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen([HAPROXY, "-db", "-f", file], env=variables, stdout=log, stderr=log)
    try:
        _wait_for_server(http, folder / "haproxy.log")
        yield LoadBalancer(http, grpc)
    finally:
        process.kill()
        process.wait()


def _free_ports(count: int) -> list[int]:
    with ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [each.getsockname()[1] for each in sockets]


def _wait_for_server(port: int, log: Path) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(b"GET /v2/health/ready HTTP/1.1\r\nHost: test\r\n\r\n")
                if connection.recv(100).startswith(b"HTTP/1.1 200"):
                    return
        except OSError:
            pass
        time.sleep(0.1)
    raise AssertionError(log.read_text())
