"""What Triton says of a model whose process died, or that is being loaded anew → the errors that callers know."""

import dataclasses

import pytest

from nextitem_client import AccessDenied, ModelNotFound, ServerUnavailable
from nextitem_client._transport.address import Proxy, parse_url
from nextitem_client._transport.errors import from_grpc_status, from_http_status, from_proxy

HERE = parse_url("http://127.0.0.1:8000")


def meanings(text, status=500, code="INTERNAL"):
    return from_http_status(HERE, status, text, ""), from_grpc_status(HERE, code, text, 1.0)


@pytest.mark.parametrize(
    "text",
    [
        "Stub process 'shop_features_0_0' is not healthy.",
        "in ensemble 'shop', Stub process 'shop_items_0_0' is not healthy.",
        "Failed to process the request(s) for model instance 'shop_0', message: Stub process 'shop_0' is not healthy.",
        "Stub process is unhealthy and it will be restarted.",
    ],
)
def test_a_dead_process_is_a_server_that_is_not_there_for_a_moment(text):
    for error in meanings(text):
        assert type(error) is ServerUnavailable
        assert error.retryable
        assert f"has lost a process of the model ({text})" in str(error)
        assert "ask again, or raise retries and timeout_s" in str(error)


def test_a_model_that_is_unloaded_may_be_back_in_a_moment_and_one_that_was_never_there_is_not():
    for error in meanings("Request for unknown model: 'shop' has no available versions", 400, "UNAVAILABLE"):
        assert (type(error), error.retryable) == (ModelNotFound, True)
    for error in meanings("Request for unknown model: 'shpo' is not found", 400, "NOT_FOUND"):
        assert (type(error), error.retryable) == (ModelNotFound, False)


@pytest.mark.parametrize(
    ("detail", "expected"),
    [
        ("Tunnel connection failed: 407 Proxy Authentication Required", AccessDenied),
        ("HTTP proxy returned response code 407.", AccessDenied),
        ("HTTP proxy returned response code 407", AccessDenied),
        ("ipv4:127.0.0.1:40701: HTTP proxy returned response code 502", ServerUnavailable),
        ("ipv4:10.0.0.407:80: HTTP proxy returned response code 502", ServerUnavailable),
        ("127.0.0.1:407: HTTP proxy returned response code 502", ServerUnavailable),
        ("14070 bytes read", ServerUnavailable),
    ],
)
def test_a_proxy_asks_who_it_is_by_its_code_and_not_by_a_port(detail, expected):
    behind = dataclasses.replace(HERE, proxy=Proxy("http://127.0.0.1:40701", "http_proxy"))
    assert type(from_proxy(behind, detail)) is expected
