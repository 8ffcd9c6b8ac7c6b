"""What deploy/load-balancer/ lets through and how much of it, with the real HAProxy in front of a real server."""

import contextlib
import gzip
import json
import re
import socket
import time
import urllib.error
import urllib.request

import grpc
import h2.connection
import h2.events
import pytest

from nextitem_server import TritonServer
from scripts.container_test.chunks import BODY, sent_in_chunks
from serving_tests.support.load_balancer import HAPROXY, MAX_BODY_BYTES, LoadBalancer, balanced

SERVICE = "/inference.GRPCInferenceService/"
INFER = f"{SERVICE}ModelInfer"
# model_name, and input x: INT64 [1], contents 7
MESSAGE = b"\x0a\x04shop" + b"\x2a\x12" + b"\x0a\x01x\x12\x05INT64\x1a\x01\x01\x2a\x03\x1a\x01\x07"
_GZIP_HEAD = "Content-Encoding: gzip\r\n"

pytestmark = pytest.mark.skipif(HAPROXY is None, reason="HAProxy is not installed here (apt-get install haproxy)")


@pytest.fixture(scope="module", params=["replicas", "pod"])
def front(request, shop_repository, tmp_path_factory):
    """The load balancer and the server behind it, which could refuse nothing by itself."""
    folder = tmp_path_factory.mktemp("front")
    opened = ["model-repository", "logging", "trace", "shared-memory"]
    with TritonServer(shop_repository, open_apis=opened) as server, balanced(request.param, server, folder) as front:
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


@pytest.mark.parametrize(
    "path",
    ["/v2", "/v2/health/live", "/v2/health/ready", "/v2/models/stats", "/v2/models/shop", "/v2/models/shop/ready",
     "/v2/models/shop/config", "/v2/models/shop/stats", "/v2/models/shop/versions/1", "/v2/models/shop/versions/1/ready"],
)  # fmt: skip
def test_what_asks_models_is_let_through(front, path):
    assert got(front.http, path) == 200


@pytest.mark.parametrize("path", ["/v2/models/shop/infer", "/v2/models/shop/versions/1/infer?x=/v2/"])
def test_inference_is_let_through(front, path):
    request = urllib.request.Request(f"http://127.0.0.1:{front.http}{path}", BODY)
    with urllib.request.urlopen(request, timeout=20) as answer:
        assert answer.status == 200


@pytest.mark.parametrize(
    "path",
    ["/", "/metrics", "/v2/", "//v2", "/V2", "/v2/repository/index", "//v2/repository/index", "/v2/%72epository/index",
     "/v2/repository/models/shop/load", "/v2/repository/models/shop/unload", "/v2/logging", "/v2/trace/setting",
     "/v2/models/shop/trace/setting", "/v2/systemsharedmemory/status", "/v2/cudasharedmemory/status", "/v2/models",
     "/v2/models/shop/infer/", "/v2/models/shop/generate", "/v2/models/shop/versions/../config", "/v2/models/..",
     "/v2/models/../repository/index", "/v2/models/%2e%2e/config", "/v2/models/shop%2f..%2f/config", "/v2?/health/live",
     "http://test/v2/logging", "/v2/models/shop;/v2/logging", "/v2/health/ready/../../logging"],
)  # fmt: skip
def test_other_paths_are_closed(front, path):
    assert got(front.http, path) == (200 if path.startswith("/v2?") else 403)


def got(port: int, path: str) -> int:
    """The status of the answer to a path, as it is."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(f"GET {path} HTTP/1.1\r\nHost: test\r\n\r\n".encode())
        return status(connection.recv(4096))


@pytest.mark.parametrize(
    "method",
    ["ServerLive", "ServerReady", "ServerMetadata", "ModelReady", "ModelMetadata", "ModelConfig", "ModelStatistics"],
)
def test_calls_of_grpc_that_ask_models_are_let_through(front, method):
    assert called(front, SERVICE + method, MESSAGE[:6] if method.startswith("Model") else b"")[0] is grpc.StatusCode.OK


def test_the_health_check_of_grpc_is_let_through(front):
    assert called(front, "/grpc.health.v1.Health/Check", b"") == (grpc.StatusCode.OK, "")


@pytest.mark.parametrize(
    "path",
    [*(SERVICE + method for method in ("RepositoryIndex", "RepositoryModelLoad", "RepositoryModelUnload", "TraceSetting",
       "LogSettings", "SystemSharedMemoryStatus", "SystemSharedMemoryRegister", "CudaSharedMemoryStatus", "modelinfer")),
     "/grpc.health.v1.Health/Watch", f"/{INFER}", f"{INFER}/", "/x"],
)  # fmt: skip
def test_other_calls_of_grpc_are_closed(front, path):
    code, details = called(front, path, b"")
    assert code is grpc.StatusCode.PERMISSION_DENIED
    assert details == "the load balancer lets calls through that ask models, and not this one"


def test_a_refusal_over_grpc_is_one_by_its_type(front):
    """tritonclient takes one without; gRPC for Go, of which there are clients of Triton too, does not."""
    connection = h2.connection.H2Connection()
    connection.initiate_connection()
    request = {":method": "POST", ":scheme": "http", ":authority": "test", ":path": "/x", "te": "trailers"}
    connection.send_headers(1, list(request.items()), end_stream=True)
    with socket.create_connection(("127.0.0.1", front.grpc), timeout=20) as to:
        to.sendall(connection.data_to_send())
        events = []
        while not any(isinstance(event, h2.events.ResponseReceived) for event in events):
            events += connection.receive_data(to.recv(4096))
            to.sendall(connection.data_to_send())
    (answer,) = (dict(event.headers) for event in events if isinstance(event, h2.events.ResponseReceived))
    assert (answer[b":status"], answer[b"grpc-status"], answer[b"content-type"]) == (b"200", b"7", b"application/grpc")


def test_metrics_are_at_a_port_of_their_own_and_nothing_else_is(front):
    assert got(front.metrics, "/metrics") == 200
    for path in ("/", "/v2/health/ready", "/v2/models/shop"):
        assert got(front.metrics, path) == 404


def test_streams_of_grpc_are_closed(front):
    code, details = called(front, f"{SERVICE}ModelStreamInfer", MESSAGE)
    assert code is grpc.StatusCode.UNIMPLEMENTED
    assert "streams are closed" in details


def test_a_call_without_a_message_ends(front):
    with grpc.insecure_channel(f"127.0.0.1:{front.grpc}") as channel:
        call = channel.stream_unary(INFER, request_serializer=bytes, response_deserializer=bytes)
        with pytest.raises(grpc.RpcError, match="no message came within 10 s"):
            call(iter(()), timeout=30)


@pytest.fixture(scope="module")
def narrow(shop_repository, tmp_path_factory):
    """The load balancer of docker-compose.yml, with room for one request at a server."""
    folder = tmp_path_factory.mktemp("narrow")
    with TritonServer(shop_repository) as server, balanced("replicas", server, folder, 1, 50) as front:
        yield front


@contextlib.contextmanager
def under_way(front: LoadBalancer, port: int):
    """A request that has reached the server and is not whole yet."""
    head = f"POST /v2/models/shop/infer HTTP/1.1\r\nHost: test\r\nContent-Length: {MAX_BODY_BYTES}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        connection.sendall(head.encode() + b" " * (1 << 20))  # more than is buffered
        deadline = time.monotonic() + 20
        while (taken := sessions_of_the_server(front)) != "1":
            assert time.monotonic() < deadline, taken
            time.sleep(0.05)
        yield


def sessions_of_the_server(front: LoadBalancer) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{front.metrics}/metrics", timeout=5) as page:
        text = page.read().decode()
    (taken,) = re.findall(
        r'^haproxy_server_current_sessions\{proxy="http",server="replica"\} (\d+)$', text, re.MULTILINE
    )
    return taken


def test_what_no_server_has_room_for_is_refused_soon_and_with_a_sentence(narrow):
    request = urllib.request.Request(f"http://127.0.0.1:{narrow.http}/v2/models/shop/infer", BODY)
    with under_way(narrow, narrow.http), pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    with refused.value as answer:
        assert (answer.status, answer.headers["retry-after"]) == (503, "1")
        assert "there are too many requests" in json.load(answer)["error"]
    assert answers(narrow)


def test_where_no_server_is_there_both_protocols_say_that_it_can_be_asked_again(shop_repository, tmp_path):
    server = TritonServer(shop_repository).start()
    try:
        with balanced("replicas", server, tmp_path) as front:
            server.stop(kill=True)
            assert called(front, INFER, MESSAGE)[0] == grpc.StatusCode.UNAVAILABLE
            assert posted(front, f"Content-Length: {len(BODY)}\r\n", BODY) == 503
    finally:
        server.stop(kill=True)
