"""What a newcomer gets wrong, with each way to ask: one sentence with what came, where, and the cure."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from nextitem_client import AsyncClient, Client, NextItemError
from nextitem_server import TritonServer
from serving_tests.support.commands import run_here
from serving_tests.support.made.shop import PROTOCOLS
from serving_tests.support.processes import running_triton

SESSION = {
    "item_id": ["A13", "A16"],
    "timestamp": ["2008-08-10T10:00:00", "2008-08-10T10:00:40"],
    **dict.fromkeys(("category", "colour", "location", "photography"), "…"),
    "country": 29,
    "page": 1,
    "price": [28.0, 33.0],
}
MISSPELT = {"prize" if name == "price" else name: values for name, values in SESSION.items()}

Way = Callable[[str, "str | None", dict], str]


def with_the_client(url: str, model: str | None, session: dict) -> str:
    with pytest.raises(NextItemError) as raised, Client(url, model) as client:
        client.recommend(session)
    return str(raised.value)


def with_asyncio(url: str, model: str | None, session: dict) -> str:
    async def ask() -> None:
        async with AsyncClient(url, model) as client:
            await client.recommend(session)

    with pytest.raises(NextItemError) as raised:
        asyncio.run(ask())
    return str(raised.value)


def with_the_command(url: str, model: str | None, session: dict) -> str:
    named = ("--model", model) if model is not None else ()
    result = run_here("nextitem-recommend", "--url", url, *named, given=json.dumps(session))
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("nextitem-recommend: ")
    return result.stderr.removeprefix("nextitem-recommend: ").removesuffix("\n")


@pytest.fixture(params=[with_the_client, with_asyncio, with_the_command], ids=lambda way: way.__name__)
def way(request: pytest.FixtureRequest) -> Way:
    """A way to ask that must fail; gives its sentence, which is one line that a terminal can show."""

    def ask(url: str, model: str | None = "shop", session: dict = SESSION) -> str:
        sentence = request.param(url, model, session)
        assert sentence.isprintable(), sentence
        assert len(sentence) < 600, sentence
        assert "Traceback" not in sentence
        return sentence

    return ask


@pytest.fixture(params=PROTOCOLS)
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """host:port where nobody listens, and nobody else can."""
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{bound.getsockname()[1]}"


@pytest.fixture(scope="module")
def web_page() -> Iterator[str]:
    """host:port of some other web server, which answers each request with a page."""

    class Page(BaseHTTPRequestHandler):
        def answer(self) -> None:
            page = b"<!DOCTYPE html>\n<html>\n\t<h1>Not here</h1>\r\n" + b"<p>Sorry.</p>\n" * 100
            self.send_response(404)
            self.send_header("Content-Length", str(len(page)))
            self.end_headers()
            self.wfile.write(page)

        do_GET = do_POST = answer  # noqa: N815

        def log_message(self, *_: object) -> None: ...

    server = ThreadingHTTPServer(("127.0.0.1", 0), Page)
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def nothing_loaded(repository: Path, server: TritonServer) -> Iterator[TritonServer]:
    """A server on the same repository that waits to be told what to load."""
    with running_triton(
        repository, options=["--model-control-mode=explicit"], open_apis=["model-repository"]
    ) as running:
        yield running


def test_the_server_is_down(way: Way, nobody: str, protocol: str) -> None:
    sentence = way(f"{protocol}://{nobody}")
    assert sentence.startswith(f"No server answers at {protocol}://{nobody} (")
    assert "Is it running, and are host and port right? nextitem-serve prints both URLs once it is ready." in sentence


def test_a_host_that_is_not_there(way: Way, protocol: str) -> None:
    sentence = way(f"{protocol}://no-such-host.invalid:8000")
    assert sentence.startswith(f"No server answers at {protocol}://no-such-host.invalid:8000 (")
    assert "host and port right" in sentence


def test_the_other_protocols_port(way: Way, server: TritonServer, protocol: str) -> None:
    right = server.grpc_url if protocol == "http" else server.http_url
    wrong = f"{protocol}://{right.split('//')[1]}"
    sentence = way(wrong)
    name = {"http": "HTTP", "grpc": "gRPC"}[protocol]
    assert sentence.startswith(f"What listens at {wrong} does not speak Triton's {name} (")
    assert f"Is it {right}, another port" in sentence  # the very URL that works
    if protocol == "http":
        assert "it answers in HTTP/2, as gRPC does" in sentence


@pytest.mark.beside_the_server
def test_the_metrics_port(way: Way, server: TritonServer, protocol: str) -> None:
    wrong = f"{protocol}://{server.metrics_url.split('//')[1].removesuffix('/metrics')}"
    sentence = way(wrong)
    assert sentence.startswith(f"What listens at {wrong} does not speak Triton's")
    assert "another port (8000 is HTTP, 8001 gRPC, 8002 metrics, unless set otherwise)" in sentence


def test_the_port_of_another_web_server(way: Way, web_page: str, protocol: str) -> None:
    sentence = way(f"{protocol}://{web_page}")
    assert sentence.startswith(f"What listens at {protocol}://{web_page} does not speak Triton's")
    assert "another port" in sentence


def test_a_url_without_its_protocol(way: Way) -> None:
    sentence = way("localhost:8000")
    assert "'localhost:8000'" in sentence
    assert "expected is http://host:8000 or grpc://host:8001" in sentence


def test_a_misspelt_model(way: Way, server: TritonServer, protocol: str) -> None:
    url = getattr(server, f"{protocol}_url")
    sentence = way(url, "shpo")
    assert sentence.startswith(
        f"The server at {url} has no ready model shpo (did you mean shop?); ready nextitem models: "
    )
    assert "shop, " in sentence
    assert "warehouse" in sentence


def test_a_model_that_is_not_in_the_repository(way: Way, server: TritonServer, protocol: str) -> None:
    sentence = way(getattr(server, f"{protocol}_url"), "bookshelf")
    assert "has no ready model bookshelf; ready nextitem models: shop, " in sentence


@pytest.mark.beside_the_server
def test_a_model_that_is_not_loaded(way: Way, nothing_loaded: TritonServer, protocol: str) -> None:
    url = getattr(nothing_loaded, f"{protocol}_url")
    sentence = way(url)
    assert sentence.startswith(f"The server at {url} has no ready model shop; ready nextitem models: none. ")
    assert "the server's log says why it did not load" in sentence
    assert "with --model-control-mode=explicit it has to be loaded first" in sentence


@pytest.mark.beside_the_server
def test_no_model_at_all(way: Way, nothing_loaded: TritonServer, protocol: str) -> None:
    sentence = way(getattr(nothing_loaded, f"{protocol}_url"), None)
    assert "has no ready nextitem model. Export one into its repository with nextitem-export" in sentence
    assert "with --model-control-mode=explicit it has to be loaded first" in sentence


def test_several_models_and_none_was_named(way: Way, server: TritonServer, protocol: str) -> None:
    sentence = way(getattr(server, f"{protocol}_url"), None)
    assert "has several nextitem models: shop, " in sentence
    assert "Say which: model='shop' (--model shop)." in sentence


def test_a_step_of_the_bundle(way: Way, server: TritonServer, protocol: str) -> None:
    sentence = way(getattr(server, f"{protocol}_url"), "shop_retrieval")
    assert "Model shop_retrieval at" in sentence
    assert "is a step of a bundle. Name the bundle." in sentence


def test_a_misspelt_feature(way: Way, server: TritonServer, protocol: str) -> None:
    sentence = way(getattr(server, f"{protocol}_url"), "shop", MISSPELT)
    assert "Session 0 has 'prize', which is no feature of the model (did you mean price?)" in sentence
    assert "The features are: item_id, " in sentence


def test_a_feature_that_is_left_out(way: Way, server: TritonServer, protocol: str) -> None:
    session = {name: values for name, values in SESSION.items() if name != "price"}
    sentence = way(getattr(server, f"{protocol}_url"), "shop", session)
    assert sentence.startswith("Session 0 lacks price (use None for a missing value). The features are: ")
