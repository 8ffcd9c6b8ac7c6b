"""What callers count, with a server that answers as it is told."""

from __future__ import annotations

import json
import struct
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import numpy as np
import pytest

from nextitem_export import ExportError
from nextitem_export.tuning.measure import ask
from nextitem_export.tuning.message import infer_request

TENSORS = {
    "item_id": np.array([[b"a", "ø".encode()]], dtype=object),
    "price": np.array([[1.5, 2.5]], np.float32),
    "session_length": np.array([[2]], np.int32),
}


@pytest.fixture
def server():
    """Host and port of a server; its `answers` are given one after the other, the last for ever, and `asked` is kept."""

    class Told(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            running.asked.append((self.path, int(self.headers["Inference-Header-Content-Length"]), body))
            status, text = running.answers.pop(0) if len(running.answers) > 1 else running.answers[0]
            self.send_response(status)
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Told)
    running.answers, running.asked = [(200, b"{}")], []
    Thread(target=running.serve_forever, daemon=True).start()
    yield running
    running.shutdown()
    running.server_close()


def asked(server, **changes):
    arguments = {"callers": 3, "duration_s": 0.3, "settle_s": 0.05} | changes
    return ask(server.server_address, [infer_request("shop", TENSORS)], **arguments)


def test_answers_and_their_times_are_counted(server):
    load = asked(server)
    assert load.answered == len(load.times_ms) > 3
    assert load.refused == 0
    assert load.throughput == pytest.approx(load.answered / 0.3)
    assert 0 < load.percentile_ms(50) <= load.percentile_ms(99)


def test_a_request_holds_its_tensors_in_binary(server):
    asked(server, callers=1)
    path, head, body = server.asked[0]
    assert path == "/v2/models/shop/infer"
    inputs = json.loads(body[:head])["inputs"]
    assert [(one["name"], one["datatype"], one["shape"]) for one in inputs] == [
        ("item_id", "BYTES", [1, 2]),
        ("price", "FP32", [1, 2]),
        ("session_length", "INT32", [1, 1]),
    ]
    due = [struct.pack("<I1sI2s", 1, b"a", 2, "ø".encode()), struct.pack("<2f", 1.5, 2.5)]
    assert body[head:] == b"".join([due[0], due[1], struct.pack("<i", 2)])


def test_refusals_for_the_load_are_counted_and_repeated(server):
    server.answers = [(503, b'{"error": "Exceeds maximum queue size"}')] * 5 + [(200, b"{}")]
    load = asked(server, settle_s=0.0)
    assert load.refused == 5
    assert load.answered > 0


def test_any_other_answer_ends_the_measurement_with_its_words(server):
    server.answers = [(400, b'{"error": "\'price\' is missing"}')]
    with pytest.raises(ExportError, match="refuses a session of the sample: 'price' is missing"):
        asked(server)


def test_without_an_answer_there_is_no_time():
    from nextitem_export.tuning.measure import Load

    assert Load(0, 0, 1.0, np.array([])).percentile_ms(50) == float("inf")
