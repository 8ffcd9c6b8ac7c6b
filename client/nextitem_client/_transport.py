"""The way to a server, as the client sees it; `_triton.py` implements it for HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from nextitem_client._exceptions import InvalidOption
from nextitem_client._request import Tensors

SCHEMES = ("http", "https", "grpc", "grpcs")
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpcs": 443}


@dataclass(frozen=True)
class Address:
    """A parsed URL. `target` is what tritonclient calls url: host:port and, for HTTP, a path."""

    url: str
    protocol: str  # http or grpc
    tls: bool
    target: str


@dataclass(frozen=True)
class Reply:
    """The tensors of a response, and the version of the model that answered."""

    tensors: Tensors
    model_version: str


class Transport(Protocol):
    """What the client needs of a connection; every method raises ServerError's family."""

    def ready_models(self) -> list[str]:
        """Names of the models that are ready, sorted."""
        ...

    def model_parameters(self, model: str) -> Mapping[str, str]:
        """The `parameters` of a model's configuration; ModelNotFound if there is none."""
        ...

    def infer(self, model: str, inputs: Tensors, outputs: Sequence[str]) -> Reply:
        """Send one request."""
        ...

    def close(self) -> None:
        """Close the connections; may be repeated."""
        ...


def parse_url(url: str) -> Address:
    """Read a server's URL. Raises InvalidOption."""
    expected = "http://host:8000 or grpc://host:8001 (https:// and grpcs:// with TLS)"
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        raise InvalidOption(f"The URL {url!r} cannot be read; expected is {expected}.") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise InvalidOption(f"The URL {url!r} names no known protocol; expected is {expected}.")
    port = port if port is not None else _DEFAULT_PORTS.get(parts.scheme)
    if port is None:
        raise InvalidOption(f"The URL {url!r} lacks the port, for which gRPC has no usual one; expected is {expected}.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    protocol = parts.scheme[:4]
    path = parts.path.rstrip("/") if protocol == "http" else ""
    return Address(
        url=url,
        protocol=protocol,
        tls=parts.scheme.endswith("s"),
        target=f"{host}:{port}{path}",
    )
