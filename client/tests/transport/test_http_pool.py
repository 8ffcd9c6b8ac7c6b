"""Connections: kept open, shared by threads, bounded; and what goes over them."""

import asyncio
import contextlib
import gzip
import os
import socket
import subprocess
import sys
import threading
import time

import pytest
from client.tests.support.gateways import gateway_to, http_gateway
from client.tests.support.models import EVENT

from nextitem_client import (
    AccessDenied,
    AsyncClient,
    Client,
    InvalidOption,
    ServerTimeout,
    ServerUnavailable,
    UnexpectedResponse,
)
from nextitem_client._settings import Settings
from nextitem_client._transport import connect
from nextitem_client._transport.address import parse_url


def test_one_connection_for_many_requests(many):
    with http_gateway(many.http_url) as gateway, Client(gateway.url, "shop") as client:
        for _ in range(5):
            client.recommend([EVENT])
        assert gateway.connections == 1


def test_asyncio_keeps_its_connections(many):
    async def use(gateway) -> None:
        async with AsyncClient(gateway.url, "shop", pool_size=2, max_concurrency=8) as client:
            await client.recommend_many([[EVENT]] * 40)
            await client.recommend_many([[EVENT]] * 40)

    with http_gateway(many.http_url) as gateway:
        asyncio.run(use(gateway))
        assert gateway.connections <= 2
        assert len(gateway.requests) == 21


def test_threads_share_connections_and_wait_for_one(many):
    with http_gateway(many.http_url) as gateway, Client(gateway.url, "shop", pool_size=2) as client:
        answers: list = []

        def ask() -> None:
            answers.extend(client.recommend([EVENT]).item_ids for _ in range(5))

        threads = [threading.Thread(target=ask) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert answers == [["a"]] * 30
        assert gateway.connections <= 2


def test_no_connection_becomes_free(many):
    with Client(many.http_url, "slow", pool_size=1, timeout_s=1.0, retries=0) as client:

        def hold() -> None:
            with contextlib.suppress(ServerTimeout):
                client.recommend([EVENT])

        holder = threading.Thread(target=hold)
        holder.start()
        time.sleep(0.2)
        with pytest.raises(ServerTimeout, match=r"None of the 1 connections to .* became free within 0\.3 s"):
            client._transport.model_parameters("slow", 0.3)  # as with timeout_s=0.3
        holder.join()


def test_a_connection_that_the_server_closed_meanwhile(many):
    with http_gateway(many.http_url) as gateway, Client(gateway.url, "shop", retries=0) as client:
        gateway.script = [(200, {"Connection": "close"}, b"{}")]
        with pytest.raises(UnexpectedResponse, match="lacks the tensor item_ids"):
            client.recommend([EVENT])
        assert client.recommend([EVENT]).item_ids == ["a"]
        assert gateway.connections == 2


def test_an_idle_connection_that_died_is_not_used():
    """The server closes after each answer without saying so."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    body = b'{"parameters": {}}'

    def answer() -> None:
        for _ in range(2):
            inner = listener.accept()[0]
            inner.recv(65536)
            inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))
            inner.close()

    threading.Thread(target=answer, daemon=True).start()
    transport = connect(parse_url(f"http://127.0.0.1:{listener.getsockname()[1]}"), Settings())
    for _ in range(2):
        assert transport.model_parameters("shop", 5.0) == {}
        time.sleep(0.1)
    transport.close()
    listener.close()


def test_an_answer_that_breaks_off():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def answer() -> None:
        inner = listener.accept()[0]
        inner.recv(65536)
        inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhalf")
        inner.close()

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(ServerUnavailable, match="ended after 4 of 50 bytes"):
        Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "shop", retries=0)
    listener.close()


def test_an_answer_that_drips_does_not_outlast_the_time():
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def drip() -> None:
        inner = listener.accept()[0]
        inner.recv(65536)
        inner.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n")
        for _ in range(50):
            time.sleep(0.1)
            try:
                inner.sendall(b"x")
            except OSError:
                return

    threading.Thread(target=drip, daemon=True).start()
    before = time.monotonic()
    with pytest.raises(ServerTimeout):
        Client(f"http://127.0.0.1:{listener.getsockname()[1]}", "shop", timeout_s=0.4)
    assert time.monotonic() - before < 1.0
    listener.close()


def test_nobody_accepts_the_connection(protocol):
    """A full backlog: the connection is not refused and not made."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    listener.listen(0)
    held = [socket.socket() for _ in range(4)]
    for one in held:
        one.setblocking(False)
        one.connect_ex(listener.getsockname())
    target = f"{protocol}://127.0.0.1:{listener.getsockname()[1]}"
    before = time.monotonic()
    with pytest.raises(ServerUnavailable, match=r"No server answers"):
        Client(target, connect_timeout_s=0.3, retries=0)
    assert time.monotonic() - before < 2.0
    if protocol == "http":
        with pytest.raises(ServerUnavailable, match=r"no connection within 0\.3 s"):
            asyncio.run(AsyncClient(target, connect_timeout_s=0.3, retries=0).open())
    for one in [*held, listener]:
        one.close()


FORK = """
import os, sys
from nextitem_client import Client
client = Client(sys.argv[1], "shop")
child = os.fork()
answer = client.recommend(eval(sys.argv[2])).item_ids
if child == 0:
    os._exit(0 if answer == ["a"] else 1)
assert (os.waitpid(child, 0)[1], answer, client.recommend(eval(sys.argv[2])).item_ids) == (0, ["a"], ["a"])
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows")
def test_a_fork_does_not_share_connections(many):
    with http_gateway(many.http_url) as gateway:
        subprocess.run([sys.executable, "-c", FORK, gateway.url, repr([EVENT])], check=True, timeout=60)
        assert gateway.connections == 2


# What goes over them: headers, compression, request ids.


@pytest.fixture(params=["Client", "AsyncClient"])
def ask(request):
    def run(url: str, **options) -> list:
        if request.param == "Client":
            with Client(url, "shop", **options) as client:
                return client.recommend_many([[EVENT] * 20] * 4, exclude=["x"])

        async def use() -> list:
            async with AsyncClient(url, "shop", **options) as client:
                return await client.recommend_many([[EVENT] * 20] * 4, exclude=["x"])

        return asyncio.run(use())

    return run


def test_headers_come_with_every_request(many, protocol, ask):
    with gateway_to(many, protocol) as gateway:
        ask(gateway.url, headers={"Authorization": "Bearer abc", "x-shop": "1"})
        assert len(gateway.requests) == 2
        for seen in gateway.requests:
            assert (seen.headers["authorization"], seen.headers["x-shop"]) == ("Bearer abc", "1")


def test_compression(many, protocol, ask):
    with gateway_to(many, protocol) as gateway:
        plain = ask(gateway.url)
        sent = gateway.requests[-1]
        assert sent.headers.get("content-encoding") is None
        assert ask(gateway.url, compression="gzip") == plain
        compressed = gateway.requests[-1]
        if protocol == "http":
            assert compressed.headers["content-encoding"] == "gzip"
            assert compressed.headers["accept-encoding"] == "gzip"
            assert len(compressed.body) < len(sent.body) / 3
            assert abs(len(gzip.decompress(compressed.body)) - len(sent.body)) < 10
        else:  # gRPC's own server decompresses before the gateway sees the body
            assert compressed.headers.get("grpc-internal-encoding-request", "gzip") == "gzip"


def test_request_ids(many, protocol):
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop") as client:
        assert client.recommend([EVENT], request_id="order-7").request_id == "order-7"
        assert b"order-7" in gateway.requests[-1].body
        made_up = {client.recommend([EVENT]).request_id for _ in range(5)}
        assert len(made_up) == 5
        assert "" not in made_up
        ids = [answer.request_id for answer in client.recommend_many([[EVENT]] * 5, request_id="x")]
        assert ids == ["x-0"] * 4 + ["x-1"]
        for wrong in ("", "two words", "ä", 5, "x" * 257):
            with pytest.raises(InvalidOption, match="expected are 1 to 256"):
                client.recommend([EVENT], request_id=wrong)


DENIALS = {
    "http": [(401, {}, b"who are you?"), (403, {}, b'{"error": "This API is restricted, expecting header \'x\'"}')],
    "grpc": [("UNAUTHENTICATED", "who?"), ("PERMISSION_DENIED", "no"), ("UNAVAILABLE", "This protocol is restricted, "
             "expecting header 'triton-grpc-protocol-x'")],
}  # fmt: skip


def test_access_denied(many, protocol):
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop") as client:
        for denial in DENIALS[protocol]:
            gateway.script, gateway.requests = [denial], []
            with pytest.raises(AccessDenied, match=r"denies access .* headers="):
                client.recommend([EVENT])
            assert len(gateway.requests) == 1
