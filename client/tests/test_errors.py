"""What Triton says of a model whose process died, or that is being loaded anew → the errors that callers know."""

import pytest

from nextitem_client import ModelNotFound, ServerUnavailable
from nextitem_client._transport.address import parse_url
from nextitem_client._transport.errors import from_grpc_status, from_http_status

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
