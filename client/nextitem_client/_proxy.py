"""Which HTTP proxy stands between us and a server, by the environment: the same rules for HTTP and gRPC."""

from __future__ import annotations

import ipaddress
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Optional
from urllib.parse import unquote, urlsplit

from nextitem_client._exceptions import InvalidOption

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
