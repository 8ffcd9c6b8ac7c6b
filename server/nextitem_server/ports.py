"""Ports: choosing free ones, and saying clearly that one is taken."""

from __future__ import annotations

import errno
import ipaddress
import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, fields
from pathlib import Path

from nextitem_server.errors import InvalidOption, PortInUse

_EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST = 10240  # below are the ports that other services are known by
_ATTEMPTS = 100


@dataclass(frozen=True)
class Ports:
    """One port for each service. 0 stands for any free port.

    Attributes:
        http: the port of HTTP.
        grpc: the port of gRPC.
        metrics: the port of the Prometheus metrics.
    """

    http: int
    grpc: int
    metrics: int

    def items(self) -> Iterator[tuple[str, int]]:
        """Pairs of service and port."""
        return ((field.name, getattr(self, field.name)) for field in fields(self))

    @property
    def any_is_chosen_by_us(self) -> bool:
        """Whether at least one port is 0."""
        return any(port == 0 for _, port in self.items())


def resolve_host(host: str) -> str:
    """The IPv4 address to bind to: Triton's HTTP server takes no host names."""
    try:
        if ipaddress.ip_address(host).version == 4:
            return host
    except ValueError:
        try:
            return socket.gethostbyname(host)
        except OSError as error:
            raise InvalidOption(
                f"--host {host}: this name cannot be resolved ({error}). Give an IPv4 address, "
                "127.0.0.1 for this machine only or 0.0.0.0 for every interface."
            ) from None
    raise InvalidOption(
        f"--host {host}: an IPv4 address is expected, this is an IPv6 one. Give 127.0.0.1 for "
        "this machine only or 0.0.0.0 for every interface."
    )


def choose(host: str, wanted: Ports) -> Ports:
    """Replace every 0 in `wanted` by a free port; check that the fixed ones are free.

    A free port lies below those that the kernel gives to outgoing connections and to whoever asks for any: between
    this choice and Triton's own binding, and while a server is started again, none of these can get it. Another one that
    chooses here still may: whoever starts Triton tries again with others. Raises PortInUse, InvalidOption.
    """
    _check_range(wanted)
    free = _free_range()
    chosen: dict[str, int] = {}
    with ExitStack() as held:  # all are held until all are chosen, so that they differ
        for service, port in sorted(wanted.items(), key=lambda pair: pair[1] == 0):
            holder = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            # As Triton does: connections of an earlier server that linger are no obstacle.
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if port:
                _bind(holder, host, service, port)
            else:
                _bind_any(holder, host, service, free)
            chosen[service] = holder.getsockname()[1]
    return Ports(**chosen)


def _check_range(wanted: Ports) -> None:
    for service, port in wanted.items():
        if not 0 <= port <= 65535:
            raise InvalidOption(f"--{service}-port {port}: a port is a number from 1 to 65535, or 0 for a free one.")
    fixed = [port for _, port in wanted.items() if port]
    if len(set(fixed)) < len(fixed):
        ports = ", ".join(f"--{service}-port {port}" for service, port in wanted.items())
        raise InvalidOption(f"{ports}: each service needs a port of its own.")


def _free_range() -> range:
    """The ports to choose from; none where the kernel's own begin too low, which then chooses."""
    try:
        return range(_LOWEST, int(_EPHEMERAL.read_text().split()[0]))
    except OSError:  # another system
        return range(0)


def _bind_any(holder: socket.socket, host: str, service: str, free: range) -> None:
    drawn = random.SystemRandom()  # a seed of the caller's would let two processes draw the same
    for _ in range(_ATTEMPTS if free else 0):
        try:
            return _bind(holder, host, service, drawn.choice(free))
        except PortInUse:
            continue
    _bind(holder, host, service, 0)


def _bind(holder: socket.socket, host: str, service: str, port: int) -> None:
    try:
        holder.bind((host, port))
        holder.listen(1)  # with SO_REUSEADDR only listening tells whether another one listens
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise in_use(host, service, port) from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise InvalidOption(
                f"--host {host}: this machine has no such address. Give 127.0.0.1 for this "
                "machine only or 0.0.0.0 for every interface."
            ) from None
        raise InvalidOption(f"--{service}-port {port}: cannot listen on {host}:{port} ({error.strerror}).") from None


def in_use(host: str, service: str, port: int) -> PortInUse:
    """The error for a taken port."""
    return PortInUse(
        f"Port {port} on {host}, wanted for {service}, is in use by another process (another "
        f"server?). Stop that one, or choose another port with --{service}-port (0 picks a "
        "free one)."
    )
