"""What clients may not reach, tried on a real Triton over both protocols."""

import http.client
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import pytest
import tritonclient.grpc as triton_grpc
from tritonclient.utils import InferenceServerException

from nextitem_server import InvalidOption, TritonServer
from nextitem_server.access import CLOSABLE, make_access

FAST = "--disable-auto-complete-config"
# API → requests over HTTP, and calls over gRPC.
HTTP = {
    "shared-memory": [
        ("GET", "/v2/systemsharedmemory/status"),
        ("POST", "/v2/systemsharedmemory/region/x/register"),
        ("POST", "/v2/systemsharedmemory/unregister"),
        ("GET", "/v2/cudasharedmemory/status"),
    ],
    "trace": [("GET", "/v2/trace/setting"), ("POST", "/v2/models/shop/trace/setting")],
    "logging": [("GET", "/v2/logging"), ("POST", "/v2/logging")],
    "model-repository": [
        ("POST", "/v2/repository/index"),
        ("POST", "/v2/repository/models/shop/unload"),
        ("POST", "/v2/repository/models/shop/load"),
    ],
}
GRPC: dict[str, list[Callable[..., Any]]] = {
    "shared-memory": [
        lambda client, **key: client.get_system_shared_memory_status(**key),
        lambda client, **key: client.unregister_system_shared_memory(**key),
    ],
    "trace": [lambda client, **key: client.get_trace_settings(**key)],
    "logging": [lambda client, **key: client.update_log_settings({"log_info": True}, **key)],
    "model-repository": [
        lambda client, **key: client.get_model_repository_index(**key),
        lambda client, **key: client.unload_model("shop", **key),
        lambda client, **key: client.load_model("shop", **key),
    ],
}


@pytest.fixture
def start(bundle, private_tmp) -> Iterator[Callable[..., TritonServer]]:
    started: list[TritonServer] = []

    def starting(*options: str, open_apis: tuple[str, ...] = ()) -> TritonServer:
        started.append(TritonServer(bundle, options=[FAST, *options], open_apis=open_apis).start())
        return started[-1]

    yield starting
    for server in started:
        server.stop(kill=True)


def http_status(server: TritonServer, method: str, path: str, headers: Mapping[str, str] | None = None) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.ports.http, timeout=20)
    try:
        connection.request(method, path, b"{}" if method == "POST" else None, dict(headers or {}))
        return connection.getresponse().status
    finally:
        connection.close()


def grpc_refusal(server: TritonServer, call: Callable[..., Any], headers: Mapping[str, str] | None = None) -> str:
    with triton_grpc.InferenceServerClient(server.grpc_url.split("//")[1]) as client:
        try:
            call(client, headers=dict(headers or {}))
        except InferenceServerException as error:
            return error.message()
    return ""


def test_every_closable_api_is_tried():
    assert HTTP.keys() == GRPC.keys() == CLOSABLE.keys()


def test_all_are_closed_but_to_the_owner(start):
    server = start()
    for method, path in [request for requests in HTTP.values() for request in requests]:
        assert http_status(server, method, path) == 403, path
        assert http_status(server, method, path, {"nextitem-control-key": "guessed"}) == 403, path
        assert http_status(server, method, path, server.control_headers) != 403, path
    for call in [call for calls in GRPC.values() for call in calls]:
        assert "is restricted" in grpc_refusal(server, call)
        assert "is restricted" not in grpc_refusal(server, call, server.control_headers)
    assert [model.name for model in server.models() if model.called] == ["shop"], "asked with the key"
    for path in ("/v2/health/ready", "/v2/models/shop", "/v2/models/shop/config", "/v2/models/stats"):
        assert http_status(server, "GET", path) == 200


@pytest.mark.parametrize("name", CLOSABLE)
def test_one_is_opened(start, name):
    server = start(open_apis=(name,))
    for other, requests in HTTP.items():
        assert all((http_status(server, *request) != 403) == (other == name) for request in requests), other
    for other, calls in GRPC.items():
        assert all(("is restricted" not in grpc_refusal(server, call)) == (other == name) for call in calls), other


def test_a_mode_of_ones_own_leaves_it_closed(start):
    server = start("--model-control-mode=none")
    for request in HTTP["model-repository"]:
        assert http_status(server, *request) == 403
    assert http_status(server, "POST", "/v2/models/shop/infer") != 403
    assert [http_status(server, *request, server.control_headers) for request in HTTP["model-repository"]] == [
        200,
        503,
        503,
    ]


def test_keys_differ():
    one, other = (make_access(()) for _ in range(2))
    assert len(one.key) > 40
    assert one.key != other.key
    assert make_access((), "a-key-of-ones-own").key == "a-key-of-ones-own"


def test_nothing_closed_takes_no_option():
    """As a Triton that is older than these options needs it."""
    assert make_access(tuple(CLOSABLE)).options() == []


def test_an_api_that_is_not_there(bundle):
    with pytest.raises(InvalidOption, match=r"--open-api traces: .* are shared-memory, trace, logging, model-rep"):
        TritonServer(bundle, open_apis=["traces"])


@pytest.mark.parametrize("option", ["--http-restricted-api", "--grpc-restricted-protocol"])
def test_a_rule_of_ones_own_needs_the_api_open(bundle, private_tmp, start, option):
    rule = f"{option}=trace:my-key=secret"
    with pytest.raises(InvalidOption, match="--open-api trace leaves it to your rule"):
        TritonServer(bundle, options=[FAST, rule]).start()
    server = start(rule, open_apis=("trace",))
    if option == "--http-restricted-api":
        assert http_status(server, "GET", "/v2/trace/setting") == 403
        assert http_status(server, "GET", "/v2/trace/setting", {"my-key": "secret"}) == 200
