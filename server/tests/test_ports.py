import socket
from pathlib import Path

import pytest

from nextitem_server import InvalidOption, PortInUse, Ports
from nextitem_server.ports import choose, resolve_host

FREE = Ports(http=0, grpc=0, metrics=0)


def test_free_ports_differ():
    for _ in range(20):
        chosen = [port for _, port in choose("127.0.0.1", FREE).items()]
        assert len(set(chosen)) == 3
        assert all(chosen)


def test_free_ports_are_none_that_the_kernel_gives_to_others():
    lowest = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert all(port < lowest for _ in range(20) for _, port in choose("127.0.0.1", FREE).items())


@pytest.mark.parametrize("drawn", ["none", "one that is taken"])
def test_where_none_can_be_drawn_the_kernel_chooses(drawn, monkeypatch):
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        free = range(taken, taken + 1) if drawn == "one that is taken" else range(0)
        monkeypatch.setattr("nextitem_server.ports._free_range", lambda: free)
        assert taken not in dict(choose("127.0.0.1", FREE).items()).values()


def test_a_fixed_port_is_kept_and_not_chosen_again():
    fixed = choose("127.0.0.1", FREE).grpc
    chosen = choose("127.0.0.1", Ports(http=0, grpc=fixed, metrics=0))
    assert chosen.grpc == fixed
    assert len(set(dict(chosen.items()).values())) == 3


@pytest.mark.parametrize("service", ["http", "grpc", "metrics"])
def test_a_taken_port_names_port_and_option(service):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(PortInUse, match=rf"Port {port} .*--{service}-port"):
            choose("127.0.0.1", Ports(**{**dict(FREE.items()), service: port}))


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        (Ports(http=70000, grpc=0, metrics=0), "--http-port 70000"),
        (Ports(http=0, grpc=-1, metrics=0), "--grpc-port -1"),
        (Ports(http=8000, grpc=8000, metrics=0), "a port of its own"),
    ],
)
def test_ports_that_cannot_be(ports, message):
    with pytest.raises(InvalidOption, match=message):
        choose("127.0.0.1", ports)


def test_hosts():
    assert resolve_host("localhost") == "127.0.0.1"
    assert resolve_host("0.0.0.0") == "0.0.0.0"
    with pytest.raises(InvalidOption, match="IPv6"):
        resolve_host("::1")
    with pytest.raises(InvalidOption, match="cannot be resolved"):
        resolve_host("no-such-host.invalid")
    with pytest.raises(InvalidOption, match="no such address"):
        choose("203.0.113.7", FREE)
