"""What is sent again, when, and how often."""

import asyncio
import socket
import threading
import time

import pytest
from client.tests.support.gateways import RESET, gateway_to, http_gateway
from client.tests.support.models import EVENT

from nextitem_client import (
    AccessDenied,
    AsyncClient,
    Client,
    ModelNotFound,
    RequestRejected,
    ServerBusy,
    ServerTimeout,
    ServerUnavailable,
    WrongProtocol,
)
from nextitem_client._flow import Attempts
from nextitem_client._settings import Settings


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def attempts(chance: float = 1.0, **options) -> "tuple[Attempts, Clock]":
    clock = Clock()
    return Attempts(Settings(**options), clock, lambda: chance), clock


def test_pauses_grow_with_jitter_up_to_a_limit():
    longest, _ = attempts(1.0, retries=7, timeout_s=60)
    shortest, _ = attempts(0.0, retries=7, timeout_s=60)
    down = ServerUnavailable("down")
    assert [longest.pause_after(down) for _ in range(8)] == [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, None]
    assert [shortest.pause_after(down) for _ in range(3)] == [0.05, 0.1, 0.2]


def test_no_attempt_after_the_deadline():
    limited, clock = attempts(retries=9, timeout_s=1.0)
    assert limited.remaining_s() == 1.0
    clock.now += 0.95
    assert limited.remaining_s() == pytest.approx(0.05)
    assert limited.pause_after(ServerUnavailable("down")) is None
    clock.now += 5
    assert limited.remaining_s() > 0


def test_the_servers_own_wish_counts_if_it_is_longer():
    waiting, _ = attempts(retries=3, timeout_s=10.0)
    busy = ServerBusy("busy")
    busy.retry_after_s = 3.0
    assert waiting.pause_after(busy) == 3.0
    busy.retry_after_s = 60.0
    assert waiting.pause_after(busy) is None


@pytest.mark.parametrize(
    "error", [ServerTimeout, WrongProtocol, RequestRejected, ModelNotFound, AccessDenied], ids=lambda one: one.__name__
)
def test_what_would_not_help(error):
    assert attempts()[0].pause_after(error("no")) is None


# Against Triton, with a gateway before it.

BUSY = {
    "http": (503, {}, b'{"error": "Exceeds maximum queue size"}'),
    "grpc": ("UNAVAILABLE", "Exceeds maximum queue size"),
}
DOWN = {"http": (503, {}, b"upstream connect error"), "grpc": ("UNAVAILABLE", "going down")}


def test_a_server_that_recovers(many, protocol):
    with gateway_to(many, protocol) as gateway:
        gateway.script = [DOWN[protocol], BUSY[protocol]]  # already while the signature is read
        with Client(gateway.url, "shop") as client:
            gateway.script, gateway.requests = [BUSY[protocol], DOWN[protocol]], []
            assert client.recommend([EVENT]).item_ids == ["a"]
            assert len(gateway.requests) == 3


def test_a_server_that_does_not(many, protocol):
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop", retries=1) as client:
        gateway.script, gateway.requests = [BUSY[protocol]] * 3, []
        with pytest.raises(ServerBusy, match=r"too much to do .*Exceeds maximum queue size.* Tried 2 times in 0\.\d s"):
            client.recommend([EVENT])
        assert len(gateway.requests) == 2
        gateway.script, gateway.requests = [DOWN[protocol]] * 2, []
        with pytest.raises(ServerUnavailable, match="No server answers"):
            client.recommend([EVENT])
        assert len(gateway.requests) == 2


def test_no_retries(many, protocol):
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop", retries=0) as client:
        gateway.script = [DOWN[protocol]]
        with pytest.raises(ServerUnavailable) as caught:
            client.recommend([EVENT])
        assert "Tried" not in str(caught.value)
        assert caught.value.retryable


def test_what_the_server_refuses_is_not_repeated(many, protocol):
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop") as client:
        gateway.requests = []
        with pytest.raises(RequestRejected, match="top_k is 11"):
            client.recommend([EVENT], k=11)
        assert len([seen for seen in gateway.requests if "infer" in seen.path.rsplit("/", 1)[-1].lower()]) == 1


def test_connections_that_are_reset(many):
    with http_gateway(many.http_url) as gateway, Client(gateway.url, "shop") as client:
        gateway.script = [RESET, RESET]
        assert client.recommend([EVENT]).item_ids == ["a"]
        gateway.script = [RESET] * 3
        with pytest.raises(ServerUnavailable, match="Tried 3 times"):
            client.recommend([EVENT])


LIMITED = {
    "http": (429, {"Retry-After": "0"}, b'{"error": "slow down"}'),
    "grpc": ("RESOURCE_EXHAUSTED", "slow down"),
}


def test_rate_limits_are_repeated_where_asked_for(many, protocol):
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop") as client:
        gateway.script, gateway.requests = [LIMITED[protocol]], []
        with pytest.raises(ServerBusy, match="slow down"):
            client.recommend([EVENT])
        assert len(gateway.requests) == 1
    with gateway_to(many, protocol) as gateway:
        client = Client(gateway.url, "shop", retry_too_many_requests=True)
        gateway.script = [LIMITED[protocol]] * 2
        assert client.recommend([EVENT]).item_ids == ["a"]
        client.close()


def test_retry_after(many):
    with http_gateway(many.http_url) as gateway, Client(gateway.url, "shop") as client:
        gateway.script = [(503, {"Retry-After": "1"}, b"")]
        before = time.monotonic()
        client.recommend([EVENT])
        assert time.monotonic() - before > 0.9
        gateway.script = [(503, {"Retry-After": "60"}, b"")]  # beyond timeout_s
        with pytest.raises(ServerUnavailable):
            client.recommend([EVENT])


def test_a_server_that_starts_late(many, protocol, url):
    """Nobody listens at first: the connection is refused, then forwarded."""
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    threading.Timer(0.25, _forward, (listener, url(many, protocol))).start()
    target = f"{protocol}://127.0.0.1:{listener.getsockname()[1]}"
    with Client(target, "shop", retries=8) as client:
        assert client.recommend([EVENT]).item_ids == ["a"]
    listener.close()


def _forward(listener: socket.socket, target: str) -> None:
    host, port = target.split("//")[1].split(":")
    listener.listen()

    def pump(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def accept() -> None:
        while True:
            try:
                inner = listener.accept()[0]
            except OSError:
                return
            outer = socket.create_connection((host, int(port)))
            for pair in ((inner, outer), (outer, inner)):
                threading.Thread(target=pump, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def test_the_deadline_is_for_all_attempts_together(many):
    with http_gateway(many.http_url) as gateway, Client(gateway.url, "shop", retries=50, timeout_s=0.6) as client:
        gateway.script = [DOWN["http"]] * 50
        before = time.monotonic()
        with pytest.raises(ServerUnavailable, match="Tried"):
            client.recommend([EVENT])
        assert time.monotonic() - before < 0.8
        assert len(gateway.script) > 40


def test_asyncio_repeats_alike(many, protocol):
    async def ask(gateway) -> None:
        async with AsyncClient(gateway.url, "shop") as client:
            gateway.script = [DOWN[protocol], BUSY[protocol]]
            assert (await client.recommend([EVENT])).item_ids == ["a"]
            gateway.script = [DOWN[protocol]] * 3
            with pytest.raises(ServerUnavailable, match="Tried 3 times"):
                await client.recommend([EVENT])
            if protocol == "http":
                gateway.script = [RESET, RESET]
                assert (await client.recommend([EVENT])).item_ids == ["a"]

    with gateway_to(many, protocol) as gateway:
        asyncio.run(ask(gateway))
