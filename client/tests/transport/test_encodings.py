"""Packed answers: every way in which a proxy may pack them, and such as are meant to fill our memory."""

from __future__ import annotations

import asyncio
import gzip
import zlib

import pytest
from client.tests.support.gateways import http_gateway
from client.tests.support.models import EVENT

from nextitem_client import AsyncClient, Client, RequestRejected, WrongProtocol
from nextitem_client._transport import http as http_codec

REFUSAL = b'{"error": "input \'price\' is missing"}'


def raw_deflate(body: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return packer.compress(body) + packer.flush()


PACKED = {
    "gzip": gzip.compress,
    "GZIP": gzip.compress,
    "x-gzip": gzip.compress,
    "gzip, in two members": lambda body: gzip.compress(body[:7]) + gzip.compress(body[7:]),
    "deflate": zlib.compress,
    "deflate, without zlib's header": raw_deflate,
    "deflate, gzip": lambda body: gzip.compress(zlib.compress(body)),
    "identity": bytes,
}


def ask(kind: str, url: str) -> None:
    if kind == "Client":
        with Client(url, "shop", retries=0) as client:
            client.recommend([EVENT])
        return

    async def use() -> None:
        async with AsyncClient(url, "shop", retries=0) as client:
            await client.recommend([EVENT])

    asyncio.run(use())


@pytest.fixture(params=["Client", "AsyncClient"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.mark.parametrize("case", PACKED)
def test_packed_answers_are_read(many, kind, case):
    encoding = case if case == "deflate, gzip" else case.split(",")[0]
    with http_gateway(many.http_url) as gateway:
        gateway.script = [None, (400, {"Content-Encoding": encoding}, PACKED[case](REFUSAL))]
        with pytest.raises(RequestRejected, match="input 'price' is missing"):
            ask(kind, gateway.url)


@pytest.mark.parametrize(
    ("encoding", "body", "told"),
    [
        ("br", b"x", "Content-Encoding is 'br', expected is one of gzip, x-gzip, deflate"),
        ("gzip", b"plain", "incorrect header check"),
        ("gzip", gzip.compress(b"{}" * 99, mtime=0)[:-9], "its packed body breaks off"),
        ("deflate", b"plain", "Error -3"),
    ],
)
def test_what_cannot_be_unpacked(many, kind, encoding, body, told):
    with http_gateway(many.http_url) as gateway:
        gateway.script = [(200, {"Content-Encoding": encoding}, body)]
        with pytest.raises(WrongProtocol, match=told):
            ask(kind, gateway.url)


def test_a_bomb_is_not_unpacked(many, kind, monkeypatch):
    monkeypatch.setattr(http_codec, "_MOST_BYTES", 1 << 20)
    bomb = gzip.compress(bytes(2 << 20))
    with http_gateway(many.http_url) as gateway:
        gateway.script = [(200, {"Content-Encoding": "gzip"}, bomb)]
        with pytest.raises(WrongProtocol, match="it unpacks to more than 1 MiB"):
            ask(kind, gateway.url)
        gateway.script = [(200, {"Content-Encoding": "gzip"}, gzip.compress(bytes(1 << 20)))]
        with pytest.raises(WrongProtocol, match="1 MiB"):
            ask(kind, gateway.url)


def test_an_answer_without_end_is_not_gathered(many, kind, monkeypatch):
    monkeypatch.setattr(http_codec, "_MOST_BYTES", 1 << 20)
    with http_gateway(many.http_url) as gateway:
        gateway.script = [(200, {}, bytes(2 << 20))]
        with pytest.raises(WrongProtocol, match="an answer of more than 1 MiB"):
            ask(kind, gateway.url)
