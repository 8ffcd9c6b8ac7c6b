"""A real Triton with the models of support/models.py, and what tests share."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from client.tests.support.certificates import grpc_options, make_certificates
from client.tests.support.models import EXPLICIT, write_alone, write_many
from client.tests.support.rows import last_items

from nextitem_client import bulk
from nextitem_client.bulk import _answering
from nextitem_client.testing import FakeServer

# The matrix runs these tests in environments that hold the client alone, against servers that it
# started: a JSON object from fixture to URLs.
SERVERS: dict[str, dict[str, str]] = json.loads(os.environ.get("NEXTITEM_CLIENT_TEST_SERVERS", "{}"))


@pytest.fixture(scope="session")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with several models."""
    yield from _given_or_started("many", tmp_path_factory, write_many)


@pytest.fixture(scope="session")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """A server with one nextitem model and a step of it, which tests may unload."""
    yield from _given_or_started("alone", tmp_path_factory, write_alone, *EXPLICIT)


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """See support/certificates.py."""
    if "certificates" in SERVERS:
        return Path(SERVERS["certificates"]["folder"])
    folder = tmp_path_factory.mktemp("certificates")
    make_certificates(folder)
    return folder


@pytest.fixture(scope="session")
def secure(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Any]:
    """A server that speaks TLS on its gRPC port."""
    options = grpc_options(certificates, mutual=False)
    yield from _given_or_started("secure", tmp_path_factory, write_alone, *options)


@pytest.fixture(scope="session")
def mutual(tmp_path_factory: pytest.TempPathFactory, certificates: Path) -> Iterator[Any]:
    """… and asks for the client's certificate."""
    options = grpc_options(certificates, mutual=True)
    yield from _given_or_started("mutual", tmp_path_factory, write_alone, *options)


def _given_or_started(
    name: str, folders: pytest.TempPathFactory, write: Callable[[Path], None], *options: str
) -> Iterator[Any]:
    if name in SERVERS:
        yield SimpleNamespace(**SERVERS[name])
        return
    repository = folders.mktemp(name)
    write(repository)
    yield from serve(repository, *options)


def serve(repository: Path, *options: str) -> Iterator[Any]:
    server_package = pytest.importorskip("nextitem_server", reason="this environment holds the client alone")
    given = ["--disable-auto-complete-config", *options]
    server = server_package.TritonServer(repository, options=given, open_apis=["model-repository"]).start()
    try:
        yield server
    finally:
        server.stop(kill=True)  # an orderly end takes Triton seconds


@pytest.fixture(params=["http", "grpc"])
def protocol(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def url() -> Callable[[Any, str], str]:
    return lambda server, protocol: getattr(server, f"{protocol}_url")


@pytest.fixture(scope="session")
def received() -> Callable[[Any], dict[str, list[Any]]]:
    """From a recommendation to the row that the model received: bytes per string, numbers by their dtype."""
    return _received


def _received(recommendation: Any) -> dict[str, list[Any]]:
    codes = {"int64": "q", "int32": "i", "float32": "f", "bool": "?"}
    values: dict[str, list[Any]] = {}
    for name, content in json.loads(recommendation.status).items():
        if content[:1] and content[0] in codes:
            raw = bytes.fromhex(content[1])
            code = codes[content[0]]
            values[name] = list(struct.unpack(f"<{len(raw) // struct.calcsize(code)}{code}", raw))
        else:
            values[name] = [bytes.fromhex(text) for text in content]
    return values


@pytest.fixture
def fake() -> FakeServer:
    """For bulk runs: recommends what the session holds, three sessions a request."""
    return FakeServer(last_items, features={"item_id": "string"}, max_sessions_per_request=3, top_k_default=2)


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bulk runs in parts of five sessions."""
    for module in (bulk, _answering):
        monkeypatch.setattr(module, "PART_SESSIONS", 5)
