"""The bounds on requests in deploy/load-balancer/haproxy.cfg, with the real HAProxy in front of a real server."""

import contextlib
import gzip
import re
import socket
import time
import urllib.request
from pathlib import Path

import grpc
import pytest
from container_test.chunks import BODY, sent_in_chunks

from nextitem_server import TritonServer
from serving_tests.load_balancer import HAPROXY, MAX_BODY_BYTES, LoadBalancer, balanced

CONFIG = Path(__file__).parents[2] / "deploy" / "load-balancer" / "haproxy.cfg"
INFER = "/inference.GRPCInferenceService/ModelInfer"
# model_name, and input x: INT64 [1], contents 7
MESSAGE = b"\x0a\x04shop" + b"\x2a\x12" + b"\x0a\x01x\x12\x05INT64\x1a\x01\x01\x2a\x03\x1a\x01\x07"
_GZIP_HEAD = "Content-Encoding: gzip\r\n"

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed here (apt-get install haproxy)")


@pytest.fixture(scope="module")
def front(shop_repository, tmp_path_factory):
    """The load balancer and the server behind it."""
    folder = tmp_path_factory.mktemp("front")
    with TritonServer(shop_repository) as server, balanced(CONFIG.read_text(), server, folder) as front:
        yield front
        assert server.poll() is None


def posted(front: LoadBalancer, headers: str, body: bytes, *, wait_s: float = 60.0) -> int:
    """The status of the answer."""
    head = f"POST /v2/models/shop/infer HTTP/1.1\r\nHost: test\r\n{headers}\r\n"
    with socket.create_connection(("127.0.0.1", front.http), timeout=wait_s) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(head.encode() + body)
        return status(connection.recv(4096))


def status(answer: bytes) -> int:
    match = re.match(rb"HTTP/1\.1 (\d+) ", answer)
    assert match, answer
    return int(match[1])


def answers(front: LoadBalancer) -> bool:
    request = urllib.request.Request(f"http://127.0.0.1:{front.http}/v2/models/shop/infer", BODY)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return answer.status == 200


@pytest.mark.parametrize("chunks", [1_000_000, 4_000_000])
def test_very_many_chunks_are_refused(front, chunks):
    assert status(sent_in_chunks(front.http, chunks)) == 411
    assert answers(front)


@pytest.mark.parametrize("chunks", [0, 10_000, 60_000])
def test_a_small_body_in_chunks_is_answered(front, chunks):
    assert status(sent_in_chunks(front.http, chunks)) == 200


def test_a_body_in_chunks_that_does_not_end_is_refused(front):
    began = time.monotonic()
    assert posted(front, "Transfer-Encoding: chunked\r\n", b"1\r\n \r\n") in (408, 411)
    assert time.monotonic() - began < 15
    assert answers(front)


@pytest.mark.parametrize("size", [MAX_BODY_BYTES + 1, 10**10, 10**18])
def test_a_body_above_the_limit_is_refused_before_it_is_sent(front, size):
    assert posted(front, f"Content-Length: {size}\r\n", b"") == 413


def test_a_body_at_the_limit_is_answered(front):
    body = BODY + b" " * (MAX_BODY_BYTES - len(BODY))
    assert posted(front, f"Content-Length: {len(body)}\r\n", body) == 200


def test_what_unpacks_to_more_than_the_limit_is_refused(front):
    for packed, expected in ((gzip.compress(b" " * (80 << 20) + BODY), 413), (gzip.compress(b" " * 10**7 + BODY), 200)):
        assert posted(front, f"{_GZIP_HEAD}Content-Length: {len(packed)}\r\n", packed) == expected
        chunk = b"%x\r\n%b\r\n0\r\n\r\n" % (len(packed), packed)
        assert posted(front, f"{_GZIP_HEAD}Transfer-Encoding: chunked\r\n", chunk) == 411
    assert answers(front)


def test_a_large_head_is_refused(front):
    assert posted(front, f"X-Long: {'x' * 40_000}\r\nTransfer-Encoding: chunked\r\n", b"1\r\n") == 431


def called(front: LoadBalancer, path: str, message: bytes, compression=None) -> "tuple[grpc.StatusCode, str]":
    """Status and details of a gRPC call."""
    with grpc.insecure_channel(f"127.0.0.1:{front.grpc}", options=[("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary(path, request_serializer=bytes, response_deserializer=bytes)
        try:
            call(message, timeout=60, compression=compression)
        except grpc.RpcError as error:
            return error.code(), error.details()
    return grpc.StatusCode.OK, ""


def padded(size: int) -> bytes:
    """A good message with a field of `size` bytes that Triton does not know."""
    length, number = b"", size
    while number:
        number, low = number >> 7, number & 127
        length += bytes([low | (128 if number else 0)])
    return MESSAGE + b"\xfa\x3f" + length + b"\0" * size


def refused(answer: "tuple[grpc.StatusCode, str]", sentence: str) -> bool:
    """HAProxy answers before all has come, and then cuts the rest off, which reaches some callers first."""
    code, details = answer
    return code is grpc.StatusCode.CANCELLED or (code is grpc.StatusCode.RESOURCE_EXHAUSTED and sentence in details)


def test_messages_of_grpc(front):
    assert called(front, INFER, MESSAGE) == (grpc.StatusCode.OK, "")
    assert called(front, INFER, padded(60 << 20)) == (grpc.StatusCode.OK, "")
    assert refused(called(front, INFER, padded(64 << 20)), "the message is larger than max_body_bytes")
    assert called(front, INFER, MESSAGE) == (grpc.StatusCode.OK, "")


def test_packed_messages_of_grpc(front):
    assert called(front, INFER, padded(10 << 20), grpc.Compression.Gzip) == (grpc.StatusCode.OK, "")
    answer = called(front, INFER, padded(100 << 20), grpc.Compression.Gzip)
    assert refused(answer, "the compressed message may be larger than max_body_bytes")
    assert called(front, INFER, MESSAGE) == (grpc.StatusCode.OK, "")


def test_streams_of_grpc_are_closed(front):
    code, details = called(front, "/inference.GRPCInferenceService/ModelStreamInfer", MESSAGE)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "streams are closed" in details


def test_a_call_without_a_message_ends(front):
    with grpc.insecure_channel(f"127.0.0.1:{front.grpc}") as channel:
        call = channel.stream_unary(INFER, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError, match="no message came within 10 s"):
            call(iter(()), timeout=30)
