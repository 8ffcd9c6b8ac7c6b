"""gRPC over several servers: two real ones, each asked for its own count of answers."""

import asyncio
import json
import socket
import time
import urllib.request

import pytest
from client.tests.support.gateways import grpc_gateway
from client.tests.support.models import EVENT

from nextitem_client import AsyncClient, Client, InvalidOption, ServerUnavailable, Tls, UntrustedServer
from nextitem_client._settings import Settings
from nextitem_client._transport.address import parse_url
from nextitem_client._transport.grpc import _channel_arguments

CALLS = 40


def address(url: str) -> str:
    return url.split("//")[1]


@pytest.fixture
def both(many, alone) -> str:
    return f"grpc://{address(many.grpc_url)},{address(alone.grpc_url)}"


def answered(*servers) -> list[int]:
    """Requests to the model that each has answered so far. Triton counts an answer after it has sent it: until none comes."""
    counts, before = counted(*servers), None
    while counts != before:
        time.sleep(0.05)
        counts, before = counted(*servers), counts
    return counts


def counted(*servers) -> list[int]:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    counts = []
    for server in servers:
        with opener.open(f"{server.http_url}/v2/models/shop/stats", timeout=20) as answer:
            statistics = json.load(answer)["model_stats"][0]["inference_stats"]
        counts.append(statistics["success"]["count"])
    return counts


def until_both_answer(ask, servers) -> None:
    before = answered(*servers)
    for _ in range(200):
        ask()
        if all(now > then for now, then in zip(answered(*servers), before)):
            return
    raise AssertionError(f"of two servers one is never asked: {before} before, {answered(*servers)} after")


def test_requests_take_turns(both, many, alone):
    with Client(both, "shop", retries=0) as client:
        until_both_answer(lambda: client.recommend([EVENT]), (many, alone))
        before = answered(many, alone)
        assert all(client.recommend([EVENT]).item_ids == ["a"] for _ in range(CALLS))
        assert [now - then for now, then in zip(answered(many, alone), before)] == [CALLS // 2] * 2


def test_requests_of_asyncio_take_turns(both, many, alone):
    async def ask() -> list:
        async with AsyncClient(both, "shop", retries=0) as client:
            return [await client.recommend([EVENT]) for _ in range(CALLS)]

    before = answered(many, alone)
    assert all(answer.item_ids == ["a"] for answer in asyncio.run(ask()))
    # The second connection may come up late, on a busy machine.
    assert min(now - then for now, then in zip(answered(many, alone), before)) > 0


def test_a_server_that_is_not_there_is_left_out(both, many, alone):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        with Client(f"{both},127.0.0.1:{closed.getsockname()[1]}", "shop", retries=0) as client:
            until_both_answer(lambda: client.recommend([EVENT]), (many, alone))


def test_a_server_that_ends_leaves_its_requests_to_the_other(many, alone):
    with grpc_gateway(many.grpc_url) as gateway:
        client = Client(f"{gateway.url},{address(alone.grpc_url)}", "shop")
        until_both_answer(lambda: client.recommend([EVENT]), (many, alone))
    before = answered(alone)
    assert all(client.recommend([EVENT]).item_ids == ["a"] for _ in range(CALLS))
    assert answered(alone)[0] - before[0] == CALLS
    client.close()


def test_none_of_them_is_there():
    with socket.socket() as one, socket.socket() as other:
        for closed in (one, other):
            closed.bind(("127.0.0.1", 0))
        url = f"grpc://127.0.0.1:{one.getsockname()[1]},127.0.0.1:{other.getsockname()[1]}"
        with pytest.raises(ServerUnavailable, match=f"No server answers at {url}"):
            Client(url, retries=1)


def test_certificates_are_checked_by_the_first_address_or_the_name_that_is_given(secure, certificates):
    url = f"grpcs://{address(secure.grpc_url)},{address(secure.grpc_url)}"
    ca_file = certificates / "ca.crt"
    with Client(url, "shop", tls=Tls(ca_file=ca_file, server_name="localhost")) as client:
        assert client.recommend([EVENT]).item_ids == ["a"]
    with pytest.raises(UntrustedServer):  # the certificate is for names
        Client(url, "shop", tls=Tls(ca_file=ca_file), retries=0)


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("grpc://shop.example:8001", "shop.example:8001"),
        ("grpc://192.0.2.4:8001,192.0.2.5:8002/", "ipv4:192.0.2.4:8001,192.0.2.5:8002"),
        ("grpcs://[::1],[fd00::2]:8443", "ipv6:[::1]:443,[fd00::2]:8443"),
    ],
)
def test_what_grpc_is_given(url, target):
    found = parse_url(url)
    assert (found.url, found.grpc_target) == (url, target)


def test_authority_of_several_is_the_first():
    arguments = dict(_channel_arguments(parse_url("grpc://192.0.2.4:8001,192.0.2.5:8001"), Settings()))
    assert arguments["grpc.default_authority"] == "192.0.2.4:8001"


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("grpc://a:8001,b:8001", r"names several servers, which takes addresses of one kind.* a name that stands"),
        ("grpc://192.0.2.4:8001,[::1]:8001", "names several servers, which takes addresses of one kind"),
        ("grpc://192.0.2.4:8001,", "names no known protocol"),
        ("grpc://192.0.2.4:8001,192.0.2.5", "lacks the port"),
        ("http://192.0.2.4:8000,192.0.2.5:8000", "cannot be read"),
    ],
)
def test_lists_that_cannot_be_meant(url, message):
    with pytest.raises(InvalidOption, match=message):
        Client(url)
