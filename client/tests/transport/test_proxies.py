"""Proxies by the environment, the same for HTTP and gRPC, and what errors say of them."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import select
import socket
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import pytest
from client.tests.support.models import EVENT
from hypothesis import given
from hypothesis import strategies as st

from nextitem_client import AccessDenied, AsyncClient, Client, InvalidOption, ServerUnavailable, Tls
from nextitem_client._transport.address import find_proxy

VARIABLES = ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy", "no_proxy", "no_grpc_proxy")
# Names that are no loopback; the proxies of these tests take every name for this machine.
FAR = "shop.example"


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@dataclass
class RunningProxy:
    """What it was asked, first lines and headers; `refusal` answers instead, `credentials` are asked for."""

    url: str
    heads: list[str] = field(default_factory=list)
    refusal: str = ""
    credentials: str = ""


@contextlib.contextmanager
def proxy() -> Iterator[RunningProxy]:
    """A proxy that forwards HTTP and tunnels by CONNECT, whatever the name, to the port on 127.0.0.1."""
    listener = socket.create_server(("127.0.0.1", 0))
    running = RunningProxy(f"http://127.0.0.1:{listener.getsockname()[1]}")

    def serve(inner: socket.socket) -> None:
        with contextlib.suppress(OSError), inner:
            head = b""
            while b"\r\n\r\n" not in head:
                part = inner.recv(65536)
                if not part:
                    return
                head += part
            head, _, rest = head.partition(b"\r\n\r\n")
            text = head.decode("latin-1")
            running.heads.append(text)
            method, target, _ = text.split("\r\n")[0].split()
            expected = f"proxy-authorization: basic {base64.b64encode(running.credentials.encode()).decode()}".lower()
            if running.credentials and expected not in text.lower():
                inner.sendall(
                    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
                )
                return
            if running.refusal:
                inner.sendall(f"HTTP/1.1 {running.refusal}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n".encode())
                return
            place = target if method == "CONNECT" else target.split("/")[2]
            with socket.create_connection(("127.0.0.1", int(place.rsplit(":", 1)[1]))) as outer:
                if method == "CONNECT":
                    inner.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                else:  # this connection's requests all go there, Triton takes absolute URLs after cutting them
                    path = "/" + target.split("/", 3)[3]
                    outer.sendall(
                        text.replace(target, path, 1).encode("latin-1") + b"\r\nConnection: close\r\n\r\n" + rest
                    )
                _pump(inner, outer)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    try:
        yield running
    finally:
        listener.close()


def _pump(one: socket.socket, other: socket.socket) -> None:
    while True:
        for ready in select.select([one, other], [], [], 30)[0]:
            data = ready.recv(65536)
            if not data:
                return
            (other if ready is one else one).sendall(data)


def ask(kind: str, url: str, **options: object) -> list[str]:
    if kind == "Client":
        with Client(url, **options) as client:
            return client.recommend([EVENT]).item_ids

    async def use() -> list[str]:
        async with AsyncClient(url, **options) as client:
            return (await client.recommend([EVENT])).item_ids

    return asyncio.run(use())


@pytest.fixture(params=["Client", "AsyncClient"])
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


def far(url: str) -> str:
    return url.replace("127.0.0.1", FAR)


def test_requests_go_through_the_proxy(many, protocol, url, kind, monkeypatch):
    with proxy() as running:
        monkeypatch.setenv("http_proxy", running.url)
        assert ask(kind, far(url(many, protocol)), model="shop") == ["a"]
        assert running.heads
        assert FAR in running.heads[0].split("\r\n")[0]


def test_the_upper_case_variable_and_one_without_a_scheme(many, protocol, url, kind, monkeypatch):
    with proxy() as running:
        monkeypatch.setenv("HTTPS_PROXY" if protocol == "grpc" else "ALL_PROXY", running.url.split("//")[1])
        assert ask(kind, far(url(many, protocol)), model="shop") == ["a"]
        assert running.heads


def test_the_proxy_of_grpc_alone(many, kind, monkeypatch):
    with proxy() as running, proxy() as other:
        monkeypatch.setenv("grpc_proxy", running.url)
        monkeypatch.setenv("http_proxy", other.url)
        assert ask(kind, far(many.grpc_url), model="shop") == ["a"]
        assert (len(running.heads), len(other.heads)) == (1, 0)


def test_loopback_is_asked_directly(many, protocol, url, kind, monkeypatch):
    with proxy() as running:
        for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
            monkeypatch.setenv(name, running.url)
        assert ask(kind, url(many, protocol), model="shop") == ["a"]
        assert ask(kind, url(many, protocol).replace("127.0.0.1", "localhost"), model="shop") == ["a"]
        assert running.heads == []


def test_tls_goes_through_a_tunnel(secure, certificates, kind, monkeypatch):
    with proxy() as running:
        monkeypatch.setenv("https_proxy", running.url)
        tls = Tls(ca_file=certificates / "ca.crt", server_name="localhost")
        assert ask(kind, far(secure.grpc_url).replace("grpc:", "grpcs:"), tls=tls) == ["a"]
        assert running.heads[0].startswith(f"CONNECT {FAR}:")


def test_user_and_password(many, protocol, url, kind, monkeypatch):
    with proxy() as running:
        running.credentials = "shop:p@ss word"
        monkeypatch.setenv("http_proxy", running.url.replace("//", "//shop:p%40ss%20word@"))
        assert ask(kind, far(url(many, protocol)), model="shop") == ["a"]
        monkeypatch.setenv("http_proxy", running.url.replace("//", "//shop:wr0ng@"))
        with pytest.raises(
            AccessDenied, match=rf"The proxy {running.url} wants to know .* environment's http_proxy"
        ) as denied:
            ask(kind, far(url(many, protocol)), model="shop")
        assert "wr0ng" not in str(denied.value)


def test_errors_name_the_proxy(many, protocol, url, kind, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{port}")
    with pytest.raises(ServerUnavailable, match=rf"by way of the proxy http://127\.0\.0\.1:{port} of http_proxy"):
        ask(kind, far(url(many, protocol)), model="shop", retries=0, timeout_s=3)
    with proxy() as running:
        running.refusal = "502 Bad Gateway"
        monkeypatch.setenv("http_proxy", running.url)
        with pytest.raises(ServerUnavailable, match=r"by way of the proxy .*502"):
            ask(kind, far(url(many, protocol)), model="shop", retries=0, timeout_s=3)


# Which proxy it is, by the variables alone.


@pytest.mark.parametrize("no_proxy", [FAR, f".{FAR}", "example", ".example", f"{FAR}:8000", "*", f"other, {FAR}"])
def test_no_proxy_by_name(monkeypatch, no_proxy):
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    assert find_proxy("http", FAR, 8000) is not None
    monkeypatch.setenv("no_proxy", no_proxy)
    for scheme in ("http", "grpc"):
        assert find_proxy(scheme, FAR, 8000) is None
        assert (find_proxy(scheme, "shop.test", 8000) is None) == (no_proxy == "*")


@pytest.mark.parametrize("host", ["192.0.2.77", "2001:db8::7"])
def test_no_proxy_by_network(monkeypatch, host):
    monkeypatch.setenv("http_proxy", "http://192.0.2.1:3128")
    monkeypatch.setenv("no_proxy", "192.0.2.0/24,2001:db8::/32")
    assert find_proxy("http", host, 8000) is None
    assert find_proxy("http", "198.51.100.1", 8000) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost", "LOCALHOST", "shop.localhost"])
@pytest.mark.parametrize("scheme", ["http", "https", "grpc", "grpcs"])
def test_loopback_has_no_proxy(monkeypatch, host, scheme):
    monkeypatch.setenv("all_proxy", "http://192.0.2.1:3128")
    assert find_proxy(scheme, host, 8000) is None
    assert find_proxy(scheme, FAR, 8000).variable == "all_proxy"


@pytest.mark.parametrize("url", ["socks5://192.0.2.1:1080", "http://", "http://192.0.2.1:port", "ftp://192.0.2.1:21"])
def test_a_proxy_that_cannot_be_used(monkeypatch, protocol, url):
    monkeypatch.setenv("http_proxy", url.replace("//", "//user:secret@"))
    with pytest.raises(
        InvalidOption, match=r"http_proxy is .*, through which .* cannot go; expected is http:"
    ) as refused:
        Client(f"{protocol}://{FAR}:8000")
    assert "secret" not in str(refused.value)


@given(st.text(max_size=30), st.text(max_size=30))
def test_no_text_of_a_variable_is_more_than_refused(proxy_url, no_proxy):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in (("http_proxy", proxy_url), ("no_proxy", no_proxy)):
            with contextlib.suppress(ValueError, UnicodeEncodeError):  # what no environment holds
                patch.setenv(name, value)
        with contextlib.suppress(InvalidOption):
            find_proxy("http", FAR, 8000)
