"""Where a server is, and by which HTTP proxy it is reached: the environment's, by the same rules for HTTP and gRPC."""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

from nextitem_client._exceptions import InvalidOption

SCHEMES = ("http", "https", "grpc", "grpcs")
_DEFAULT_PORTS = {"http": 80, "https": 443, "grpcs": 443}
# The variables that are asked, in this order, without their ending _proxy; gRPC's are those of the gRPC libraries.
_VARIABLES: Mapping[str, tuple[str, ...]] = {
    "http": ("http", "all"),
    "https": ("https", "all"),
    "grpc": ("grpc", "https", "http", "all"),
    "grpcs": ("grpc", "https", "all"),
}


@dataclass(frozen=True)
class Proxy:
    """An HTTP proxy. url: with the user and password that the variable has; variable: where it was found."""

    url: str
    variable: str

    @property
    def shown(self) -> str:
        """Without user and password."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"

    @property
    def credentials(self) -> Optional[str]:
        """`user:password`, None where there are none."""
        parts = urlsplit(self.url)
        return None if parts.username is None else f"{unquote(parts.username)}:{unquote(parts.password or '')}"


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


def find_proxy(scheme: str, host: str, port: int) -> Optional[Proxy]:
    """The proxy of http_proxy, https_proxy, grpc_proxy or all_proxy; none for what no_proxy lists, nor for this machine itself.

    Raises InvalidOption for a proxy that is none, or of a kind that the protocol cannot go through.
    """
    proxies = urllib.request.getproxies_environment()
    if _is_loopback(host) or _is_left_out(host, port, proxies.get("no", "")):
        return None
    found = next((name for name in _VARIABLES[scheme] if proxies.get(name)), None)
    if found is None:
        return None
    url = proxies[found] if "://" in proxies[found] else f"http://{proxies[found]}"
    return _checked(Proxy(url, f"{found}_proxy"), scheme)


def _checked(proxy: Proxy, scheme: str) -> Proxy:
    taken = ("http",) if scheme.startswith("grpc") else ("http", "https")
    try:
        parts = urlsplit(proxy.url)
        usable = parts.scheme in taken and bool(parts.hostname)
        _ = parts.port
    except ValueError:
        usable = False
    if not usable:
        shown = proxy.url.rpartition("@")[2]
        raise InvalidOption(
            f"The environment's {proxy.variable} is {shown!r}, through which {scheme}:// cannot go; expected is "
            f"{' or '.join(f'{one}://host:port' for one in taken)}. Change it, or list the server's name in no_proxy."
        )
    return proxy


def _is_left_out(host: str, port: int, no_proxy: str) -> bool:
    library: Any = urllib.request  # which has it documented, but not in its stubs
    if library.proxy_bypass_environment(f"{host}:{port}", {"no": no_proxy}):
        return True
    address = _address(host)
    return address is not None and any(_holds(entry.strip(), address) for entry in no_proxy.split(","))


def _holds(entry: str, address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> bool:
    """Whether `entry` is a network, such as 10.0.0.0/8, or an address, and the address is in it."""
    try:
        return address in ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return False


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address is not None else host.lower().rstrip(".").endswith("localhost")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
