"""TLS: over gRPC Triton's own, over HTTP a proxy that ends it in front of Triton."""

import asyncio
import ssl

import pytest
from client.tests.support.gateways import http_gateway
from client.tests.support.models import EVENT

from nextitem_client import AsyncClient, Client, InvalidOption, ServerUnavailable, Tls, UntrustedServer


@pytest.fixture(scope="session")
def https(many, certificates):
    with http_gateway(many.http_url, _server_context(certificates)) as gateway:
        yield gateway.url


@pytest.fixture(scope="session")
def mutual_https(many, certificates):
    context = _server_context(certificates)
    context.load_verify_locations(certificates / "ca.crt")
    context.verify_mode = ssl.CERT_REQUIRED
    with http_gateway(many.http_url, context) as gateway:
        yield gateway.url


def _server_context(folder) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.crt", folder / "server.key")
    return context


@pytest.fixture
def plain(protocol, request) -> str:
    """The URL of a server with TLS, by address."""
    if protocol == "http":
        return request.getfixturevalue("https")
    return request.getfixturevalue("secure").grpc_url.replace("grpc:", "grpcs:")


@pytest.fixture
def asked_over(protocol, request) -> str:
    """… of one that asks for a client's certificate."""
    if protocol == "http":
        return request.getfixturevalue("mutual_https")
    return request.getfixturevalue("mutual").grpc_url.replace("grpc:", "grpcs:")


@pytest.fixture(params=["Client", "AsyncClient"])
def ask(request):
    def run(url: str, tls: "Tls | None") -> list:
        if request.param == "Client":
            with Client(url, "shop", tls=tls, retries=0, timeout_s=5) as client:
                return client.recommend([EVENT]).item_ids

        async def use() -> list:
            async with AsyncClient(url, "shop", tls=tls, retries=0, timeout_s=5) as client:
                return (await client.recommend([EVENT])).item_ids

        return asyncio.run(use())

    return run


def test_the_urls_host_is_the_name(ask, plain, certificates):
    named = plain.replace("127.0.0.1", "localhost")
    assert ask(named, Tls(ca_file=certificates / "ca.crt")) == ["a"]


def test_another_name(ask, plain, certificates):
    assert ask(plain, Tls(ca_file=str(certificates / "ca.crt"), server_name="shop.test")) == ["a"]


def test_a_name_that_the_certificate_does_not_have(ask, plain, certificates):
    with pytest.raises(UntrustedServer, match=r"failed over a certificate .* server_name="):
        ask(plain, Tls(ca_file=certificates / "ca.crt"))
    with pytest.raises(UntrustedServer):
        ask(plain, Tls(ca_file=certificates / "ca.crt", server_name="other.test"))


@pytest.mark.parametrize("tls", [None, Tls(), Tls(server_name="localhost")])
def test_an_authority_that_is_not_trusted(ask, plain, tls):
    with pytest.raises(UntrustedServer, match="tls=Tls"):
        ask(plain.replace("127.0.0.1", "localhost"), tls)


def test_a_clients_certificate(ask, asked_over, certificates):
    authority = certificates / "ca.crt"
    with_key = Tls(authority, certificates / "client.crt", certificates / "client.key", server_name="localhost")
    assert ask(asked_over, with_key) == ["a"]
    assert ask(asked_over, Tls(authority, certificates / "client.pem", server_name="localhost")) == ["a"]


def test_a_clients_certificate_that_is_missing(ask, asked_over, certificates):
    # TLS 1.3 lets a server refuse only when the client has begun to send; what the client sees then,
    # the alert or the end of the connection, is a matter of luck. Each sentence names the cure.
    with pytest.raises(ServerUnavailable, match="certificate_file="):
        ask(asked_over, Tls(certificates / "ca.crt", server_name="localhost"))


def test_files_that_cannot_be_used(tmp_path, certificates, protocol):
    secure = f"{protocol}s://127.0.0.1:1"
    with pytest.raises(InvalidOption, match=r"The ca_file .*absent of Tls is no file; expected is one in PEM format"):
        Client(secure, tls=Tls(ca_file=tmp_path / "absent"))
    with pytest.raises(InvalidOption, match="has a key_file without its certificate_file"):
        Client(secure, tls=Tls(key_file=certificates / "client.key"))
    (tmp_path / "damaged").write_text("no PEM")
    damaged = [
        Tls(ca_file=tmp_path / "damaged"),
        Tls(certificate_file=tmp_path / "damaged"),
        Tls(certificate_file=certificates / "client.crt", key_file=certificates / "server.key"),
    ]
    for tls in damaged:
        with pytest.raises(InvalidOption, match="cannot be used"):
            Client(secure, tls=tls)


def test_tls_for_a_url_without(certificates, protocol):
    with pytest.raises(InvalidOption, match=rf"tls was given, but .* is a URL without TLS; write {protocol}s://"):
        Client(f"{protocol}://127.0.0.1:1", tls=Tls(certificates / "ca.crt"))
    with pytest.raises(InvalidOption, match="tls is a str; expected is Tls"):
        Client(f"{protocol}s://127.0.0.1:1", tls="ca.crt")
