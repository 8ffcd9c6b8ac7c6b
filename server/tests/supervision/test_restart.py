import pytest

from nextitem_server import TritonServer
from nextitem_server.supervision.restart import ModelRestart, RestartFailedError, _reason, _with_another_group


def test_the_instance_group_changes_each_time_in_what_has_no_effect():
    config = {"name": "shop", "instance_group": [{"count": 2}, {"rate_limiter": {"resources": [], "priority": 5}}]}
    once = _with_another_group(config)
    twice = _with_another_group(once)
    assert [group["rate_limiter"]["priority"] for group in once["instance_group"]] == [1, 6]
    assert [group["rate_limiter"]["priority"] for group in twice["instance_group"]] == [0, 7]
    assert config["instance_group"][0] == {"count": 2}, "what was given stays"
    assert once["name"] == "shop"


def test_the_reason_is_tritons_without_places_in_the_code():
    assert _reason(400, b'{"error": "load failed: KeyError\\n\\nAt:\\n  /x.py"}') == "load failed: KeyError"
    assert _reason(502, b"<html>") == "HTTP status 502"


def test_a_model_that_is_gone_cannot_be_started_anew(bundle, private_tmp):
    with TritonServer(bundle, options=("--disable-auto-complete-config",)) as server:
        restart = ModelRestart("127.0.0.1", server.ports.http, server.control_headers)
        with pytest.raises(RestartFailedError, match="unknown model: 'none' is not found"):
            restart.config("none")
        closed = ModelRestart("127.0.0.1", server.ports.http, {})
        with pytest.raises(RestartFailedError, match="This API is restricted, expecting header 'nextitem-control-key'"):
            closed.in_place("shop", restart.config("shop"))
