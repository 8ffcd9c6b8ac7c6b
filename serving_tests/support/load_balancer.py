"""The load balancer of docker-compose.yml, or a pod's front, as a process beside a server that runs here."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from nextitem_server import Ports, TritonServer
from nextitem_server.ports import choose

HAPROXY = shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin")
CONFIGURATION = Path(__file__).parents[2] / "deploy" / "load-balancer"
MAX_BODY_BYTES = 64 << 20
#: By file, what stands in it and what stands in its place here.
PLACES = {
    "front": {r"bind :8000": "bind 127.0.0.1:{own[http]}", r"bind :8001": "bind 127.0.0.1:{own[grpc]}"},
    "replicas": {
        r"server-template replica \d+ replica:8000": "server replica 127.0.0.1:{server[http]}",
        r"server-template replica \d+ replica:8001": "server replica 127.0.0.1:{server[grpc]}",
        r"connect port 8000\b": "connect port {server[http]}",
        r"bind :8404": "bind 127.0.0.1:{own[metrics]}",
    },
    "pod": {
        r"127\.0\.0\.1:9000": "127.0.0.1:{server[http]}",
        r"127\.0\.0\.1:9001": "127.0.0.1:{server[grpc]}",
        r"127\.0\.0\.1:9002": "127.0.0.1:{server[metrics]}",
        r"bind :8002": "bind 127.0.0.1:{own[metrics]}",
    },
}


@dataclass(frozen=True)
class LoadBalancer:
    """The ports that it listens at."""

    http: int
    grpc: int
    metrics: int


@contextmanager
def balanced(
    layout: str, server: TritonServer, folder: Path, max_requests: int = 256, queue_ms: int = 1000
) -> Iterator[LoadBalancer]:
    """HAProxy in front of the server, as in docker-compose.yml (`replicas`) or in a pod of Kubernetes (`pod`).

    max_requests, queue_ms: requests under way, and how long further ones wait; a pod has no such limit.
    """
    ports = dict(choose("127.0.0.1", Ports(http=0, grpc=0, metrics=0)).items())
    command = [str(HAPROXY), "-db"]
    for name in ("front", layout):
        file = folder / f"{name}.cfg"
        file.write_text(_moved((CONFIGURATION / file.name).read_text(), PLACES[name], ports, server))
        command += ["-f", str(file)]
    variables = {**os.environ, "LB_MAX_BODY_BYTES": str(MAX_BODY_BYTES)}
    if layout == "replicas":  # docker-compose.yml sets these, a pod does not
        variables |= {"LB_CERTIFICATE": "", "LB_API_KEYS": ""}
        variables |= {"LB_MAX_REQUESTS": str(max_requests), "LB_QUEUE_MS": str(queue_ms)}
    with (folder / "haproxy.log").open("wb") as log:
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log)
    try:
        _wait_for_server(ports["http"], folder / "haproxy.log")
        yield LoadBalancer(**ports)
    finally:
        process.kill()
        process.wait()


def _moved(config: str, places: dict[str, str], ports: dict[str, int], server: TritonServer) -> str:
    """The configuration with the ports of this machine's processes in it."""
    for place, here in places.items():
        config, found = re.subn(place, here.format(own=ports, server=dict(server.ports.items())), config)
        assert found, place
    return config


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
