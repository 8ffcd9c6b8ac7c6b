from __future__ import annotations

import http.server
import json
import threading
from typing import ClassVar

import pytest

from nextitem_export import ControlError
from nextitem_export.control import KEY_HEADER, ModelControl, read_key


@pytest.fixture
def triton():
    """A server that answers by path, (status, document or text); seen: method, path and key of what it was asked."""

    class Handler(http.server.BaseHTTPRequestHandler):
        answers: ClassVar[dict] = {}
        seen: ClassVar[list] = []
        bodies: ClassVar[list] = []

        def do_POST(self):
            self.bodies.append(self.rfile.read(int(self.headers.get("content-length", 0))))
            self.seen.append((self.command, self.path, self.headers.get(KEY_HEADER)))
            status, body = self.answers.get(self.path, (200, ""))
            self.send_response(status)
            self.end_headers()
            self.wfile.write((body if isinstance(body, str) else json.dumps(body)).encode())

        do_GET = do_POST  # noqa: N815

        def log_message(self, *arguments):
            pass

    Handler.answers, Handler.seen, Handler.bodies = {}, [], []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    Handler.url = f"http://127.0.0.1:{server.server_port}"
    yield Handler
    server.shutdown()
    server.server_close()


def test_loads_with_the_key_and_asks_without_failing(triton):
    triton.answers["/v2/models/shop"] = (200, {"versions": ["2", "1"]})
    triton.answers["/v2/models/none"] = (400, {"error": "unknown"})
    control = ModelControl(triton.url + "/", "key")
    control.check()
    control.load("a b")
    assert control.answering("shop") == (1, 2)
    assert control.answering("none") == ()
    assert triton.seen[:2] == [
        ("POST", "/v2/repository/index", "key"),
        ("POST", "/v2/repository/models/a%20b/load", "key"),
    ]


REQUEST = {
    "features": [
        {"name": "item_id", "datatype": "BYTES"},
        {"name": "price", "datatype": "FP32"},
        {"name": "timestamp", "datatype": "INT64"},
    ]
}


@pytest.mark.parametrize("answer", [(200, {"outputs": []}), (503, {"error": "Exceeds maximum queue size"})])
def test_a_model_that_answers(triton, answer):
    triton.answers["/v2/models/shop/infer"] = answer
    ModelControl(triton.url).ask("shop", REQUEST)
    sent = json.loads(triton.bodies[-1])["inputs"]
    assert [(one["name"], one["shape"], one["data"]) for one in sent] == [
        ("session_length", [1, 1], [0]),
        ("item_id", [1, 1], [""]),
        ("price", [1, 1], [0.0]),
        ("timestamp", [1, 1], [0]),
    ]


class Clock:
    """Time that passes only while it is slept."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def test_a_model_that_is_ready_and_does_not_answer(triton, monkeypatch):
    clock = Clock()
    monkeypatch.setattr("nextitem_export.control.time", clock)
    monkeypatch.setattr("nextitem_export.control.ANSWER_WITHIN_S", 0.6)
    triton.answers["/v2/models/shop/infer"] = (500, {"error": "Stub process 'shop_items_0_0' is not healthy."})
    said = r"has 'shop' loaded and gives no answer with it: HTTP 500, Stub process .* is not healthy\. Look at the server's log"
    with pytest.raises(ControlError, match=said):
        ModelControl(triton.url).ask("shop", REQUEST)
    assert len(triton.bodies) == 3, "a process that died is given time to come back"


@pytest.mark.parametrize(
    ("key", "answer", "parts"),
    [
        (None, (403, {"error": "restricted"}), ["keeps model control closed, and no key was sent (restricted)"]),
        ("k", (403, {"error": "restricted"}), ["the key that was sent is another one", "activate_bundle(key=…)"]),
        ("k", (503, {"error": "explicit model load / unload is not allowed"}), ["with explicit model control"]),
        ("k", (404, "no such page"), ["HTTP 404, no such page", "explicit model control"]),
        ("k", (400, {"error": "KeyError: 'k'\n\nAt:\n  /x.py"}), ["refused loading shop: HTTP 400, KeyError: 'k'"]),
        ("k", (500, ""), ["HTTP 500, without a reason"]),
    ],
)
def test_what_the_server_refuses_is_told(triton, key, answer, parts):
    triton.answers["/v2/repository/models/shop/load"] = answer
    with pytest.raises(ControlError) as caught:
        ModelControl(triton.url, key).load("shop")
    assert all(part in str(caught.value) for part in parts), caught.value
    assert "\n" not in str(caught.value)


def test_nobody_there():
    with pytest.raises(ControlError, match=r"at http://127.0.0.1:9 does not answer \(Connection.*its HTTP address"):
        ModelControl("http://127.0.0.1:9").check()


@pytest.mark.parametrize("url", ["grpc://h:8001", "h:8000", "http://", ""])
def test_an_address_that_cannot_be_meant(url):
    with pytest.raises(ControlError, match=r"expected the server's HTTP address, such as http://127.0.0.1:8000"):
        ModelControl(url)


def test_a_key_comes_from_a_file(tmp_path):
    file = tmp_path / "key"
    file.write_text(" abc\n")
    assert read_key(str(file)) == "abc"
    file.write_text("\n")
    with pytest.raises(ControlError, match="is empty"):
        read_key(str(file))
    with pytest.raises(ControlError, match=r"none cannot be read \(.*No such file"):
        read_key(str(tmp_path / "none"))
