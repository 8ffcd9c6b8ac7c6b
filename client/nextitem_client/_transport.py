"""The way to a server, as the client sees it: what `_http_sync`, `_http_async` and `_grpc` implement."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Optional, Protocol
from urllib.parse import urlsplit

from nextitem_client._exceptions import InvalidOption
from nextitem_client._proxy import Proxy, find_proxy
from nextitem_client._request import Tensors

SCHEMES = ("http", "https", "grpc", "grpcs")
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpcs": 443}


@dataclass(frozen=True)
class Address:
    """A parsed URL; `path` is what stands before /v2 (HTTP only, without a slash at its end).

    url: as messages show it. others: further servers with the same models (gRPC only), all of them IPv4 addresses or all IPv6,
    as `host` then is. proxy: by which way it is reached.
    """

    url: str
    protocol: str  # http or grpc
    tls: bool
    host: str
    port: int
    path: str
    others: tuple[tuple[str, int], ...] = ()
    proxy: Optional[Proxy] = None

    @property
    def bracketed_host(self) -> str:
        """The host, an IPv6 address in brackets."""
        return f"[{self.host}]" if ":" in self.host else self.host

    @property
    def target(self) -> str:
        """host:port, an IPv6 address in brackets."""
        return _host_and_port(self.host, self.port)

    @property
    def grpc_target(self) -> str:
        """The same for gRPC, which takes several addresses (https://github.com/grpc/grpc/blob/master/doc/naming.md)."""
        if not self.others:
            return self.target
        family = "ipv6" if ":" in self.host else "ipv4"
        return f"{family}:{','.join([self.target, *(_host_and_port(*other) for other in self.others)])}"


@dataclass(frozen=True)
class Inference:
    """One request."""

    model: str
    inputs: Tensors
    outputs: Sequence[str]
    request_id: str


@dataclass(frozen=True)
class Reply:
    """The tensors of a response, and the version of the model that answered."""

    tensors: Tensors
    model_version: str


class Transport(Protocol):
    """What Client needs of a connection; every method but close() raises ServerError's family."""

    def ready_models(self, timeout_s: float) -> list[str]:
        """Names of the models that are ready, sorted."""
        ...

    def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """The `parameters` of a model's configuration; ModelNotFound if there is none."""
        ...

    def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """Send one request."""
        ...

    def close(self) -> None:
        """Close the connections; may be repeated."""
        ...


class AsyncTransport(Protocol):
    """Transport, for AsyncClient; made and used within one event loop."""

    async def ready_models(self, timeout_s: float) -> list[str]:
        """See Transport."""
        ...

    async def model_parameters(self, model: str, timeout_s: float) -> Mapping[str, str]:
        """See Transport."""
        ...

    async def infer(self, inference: Inference, timeout_s: float) -> Reply:
        """See Transport."""
        ...

    async def close(self) -> None:
        """See Transport."""
        ...

    def abandon(self) -> None:
        """Let go of everything without the event loop, which has ended."""
        ...


def parse_url(url: str) -> Address:
    """Read a server's URL. Raises InvalidOption."""
    expected = "http://host:8000 or grpc://host:8001 (https:// and grpcs:// with TLS)"
    if str(url).startswith("grpc") and "," in url:
        return _parse_several(url)
    try:
        parts = urlsplit(url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        raise InvalidOption(f"The URL {url!r} cannot be read; expected is {expected}.") from None
    if parts.scheme not in SCHEMES or not parts.hostname:
        raise InvalidOption(f"The URL {url!r} names no known protocol; expected is {expected}.")
    if parts.username is not None or parts.password is not None:
        raise InvalidOption("The URL holds a user or a password, which are not sent; give credentials in headers.")
    port = port if port is not None else _DEFAULT_PORTS.get(parts.scheme)
    if port is None:
        raise InvalidOption(f"The URL {url!r} lacks the port, for which gRPC has no usual one; expected is {expected}.")
    protocol = parts.scheme[:4]
    return Address(
        url=url,
        protocol=protocol,
        tls=parts.scheme.endswith("s"),
        host=parts.hostname,
        port=port,
        path=parts.path.rstrip("/") if protocol == "http" else "",
    )


def by_its_way(address: Address) -> Address:
    """The address with the proxy that the environment names for it. Raises InvalidOption."""
    if address.others:  # a list of addresses: gRPC goes to each of them itself
        return address
    scheme = address.protocol + ("s" if address.tls else "")
    proxy = find_proxy(scheme, address.host, address.port)
    if proxy is None:
        return address
    return replace(address, url=f"{address.url} by way of the proxy {proxy.shown} of {proxy.variable}", proxy=proxy)


def _parse_several(url: str) -> Address:
    """grpc://192.0.2.4:8001,192.0.2.5:8001"""
    scheme, _, rest = url.partition("://")
    first, *others = [parse_url(f"{scheme}://{one}") for one in rest.rstrip("/").split(",")]
    families = {_family(address.host) for address in (first, *others)}
    if len(families) != 1 or None in families:
        raise InvalidOption(
            f"The URL {url!r} names several servers, which takes addresses of one kind, such as "
            "grpc://192.0.2.4:8001,192.0.2.5:8001; a name that stands for all of them is given alone."
        )
    return replace(first, url=url, others=tuple((other.host, other.port) for other in others))


def _family(host: str) -> int | None:
    """4 or 6; None for a name."""
    try:
        return ipaddress.ip_address(host).version
    except ValueError:
        return None


def _host_and_port(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
