"""How much stack tritonserver has, and the requests that ended it where it had less."""

import contextlib
import http.client
import resource
import socket

import pytest

from nextitem_server import TritonServer
from nextitem_server.stack import STACK_BYTES, stack_limit

MIB = 1 << 20
NONE = resource.RLIM_INFINITY
#: A million ended a server with the usual 8 MiB of stack.
CHUNKS = 4_000_000


@pytest.mark.parametrize(
    ("stack", "address_space", "limit", "told"),
    [
        ((8 * MIB, NONE), NONE, STACK_BYTES, None),
        ((8 * MIB, 2 * STACK_BYTES), NONE, STACK_BYTES, None),
        ((2 * STACK_BYTES, NONE), NONE, 2 * STACK_BYTES, None),
        ((NONE, NONE), NONE, STACK_BYTES, None),
        (
            (8 * MIB, 64 * MIB),
            NONE,
            64 * MIB,
            "have 64 MiB of stack, as the hard limit is no higher; expected are 1024 MiB",
        ),
        ((8 * MIB, NONE), 4 * STACK_BYTES, 8 * MIB, "have 8 MiB of stack, as the address space is limited"),
    ],
)
def test_the_limit_and_what_is_said_where_it_is_low(tmp_path, stack, address_space, limit, told):
    (tmp_path / "overcommit").write_text("0\n")
    found, sentence = stack_limit(stack, address_space, tmp_path / "overcommit")
    assert found == limit
    assert (sentence is None) == (told is None)
    if told:
        assert told in sentence
        assert "through the load balancer alone" in sentence


def test_a_kernel_that_reserves_all_memory_leaves_the_limit(tmp_path):
    (tmp_path / "overcommit").write_text("2\n")
    found, sentence = stack_limit((8 * MIB, NONE), NONE, tmp_path / "overcommit")
    assert found == 8 * MIB
    assert "vm.overcommit_memory" in sentence


def test_a_body_of_four_million_chunks_ends_nothing(bundle, private_tmp):
    with TritonServer(bundle, timeout_s=30) as server:
        with socket.create_connection(("127.0.0.1", server.ports.http), timeout=120) as connection:
            connection.sendall(b"POST /v2/models/shop/infer HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
            part = b"1\r\n \r\n" * 10_000
            for _ in range(CHUNKS // 10_000):
                connection.sendall(part)
            connection.sendall(b"1\r\n{\r\n0\r\n\r\n")
            with contextlib.suppress(ConnectionError):
                assert connection.recv(100).startswith(b"HTTP/1.1 ")
        assert server.poll() is None
        asked = http.client.HTTPConnection("127.0.0.1", server.ports.http, timeout=20)
        body = b'{"inputs": [{"name": "x", "shape": [1], "datatype": "INT64", "data": [7]}]}'
        asked.request("POST", "/v2/models/shop/infer", body)
        answer = asked.getresponse()
        assert (answer.status, b"7" in answer.read()) == (200, True)
        asked.close()
        assert server.poll() is None
