"""Requests that are too large for Triton end at the load balancer."""

import socket
from urllib.parse import urlsplit

from .chunks import sent_in_chunks
from .console import fail, say
from .project import Project, status_of

CHUNKS = 4_000_000
TOO_LARGE = 10**10


def check_bounds(project: Project, replicas: list[str]) -> None:
    """A body in four million chunks and one of ten gigabytes are refused, and no replica has noticed."""
    port = urlsplit(project.url("LB_HTTP_PORT")).port
    assert port is not None
    before = [project.state(replica) for replica in replicas]
    answer = sent_in_chunks(port, CHUNKS, body=b"{}")
    if not answer.startswith(b"HTTP/1.1 411 "):
        fail(f"a body in {CHUNKS} chunks: 411 was expected from the load balancer, and {answer[:80]!r} came.")
    with socket.create_connection(("127.0.0.1", port), timeout=60) as connection:
        head = f"POST /v2/models/shop/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {TOO_LARGE}\r\n\r\n"
        connection.sendall(head.encode())
        answer = connection.recv(4096)
    if not answer.startswith(b"HTTP/1.1 413 "):
        fail(f"a body of {TOO_LARGE} bytes: 413 was expected from the load balancer, and {answer[:80]!r} came.")
    after = [project.state(replica) for replica in replicas]
    if after != before or status_of(project.url("LB_HTTP_PORT", "/v2/health/ready")) != 200:
        fail(f"after requests that were too large the replicas are {after}, they were {before}.")
    say(f"a body in {CHUNKS} chunks gets 411, one of {TOO_LARGE} bytes 413, and no replica notices")
