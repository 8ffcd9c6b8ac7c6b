"""Tensors through shared memory: the same answers, and nothing left behind."""

import contextlib
import json
import os
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path

import pytest
from client_gateways import gateway_to
from client_models import EVENT, write_alone

from nextitem_client import Client, InvalidOption, RequestRejected, ServerTimeout, UnexpectedResponse
from nextitem_client._shared_memory import Block

MEMORY = Path("/dev/shm")
pytestmark = pytest.mark.skipif(not MEMORY.is_dir(), reason="system shared memory as Linux has it")


def registered(server) -> "set[str]":
    """The server's blocks of all clients."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server.http_url}/v2/systemsharedmemory/status", timeout=20) as answer:
        return {block["name"] for block in json.load(answer)}


@pytest.fixture
def nothing_left(many):
    files, blocks = set(os.listdir(MEMORY)), registered(many)
    yield
    assert {name for name in set(os.listdir(MEMORY)) - files if name.startswith("psm_")} == set()
    assert registered(many) <= blocks


@pytest.mark.usefixtures("nothing_left")
def test_the_same_answers(many, protocol, url):
    sessions = [[{**EVENT, "item_id": f"ä{number}"}] * (number % 6) for number in range(9)]
    options = {
        "k": 4,
        "exclude": [["ä3"], None, ["x"] * 3, [], [], [], [], [], []],
        "exclude_seen": [False] * 8 + [True],
    }
    here, before = url(many, protocol), len(registered(many))
    with Client(here, "shop") as plain, Client(here, "shop", shared_memory=True) as client:
        assert client.recommend_many(sessions, **options) == plain.recommend_many(sessions, **options)
        for size in (1, 40, 3):  # blocks grow, and serve smaller requests
            session = [{**EVENT, "item_id": "i" * 30}] * size
            assert client.recommend(session) == plain.recommend(session)
        assert len(registered(many)) > before
    with Client(here, "numbers") as plain, Client(here, "numbers", shared_memory=True) as client:
        assert client.recommend({"item_id": [7, 8]}) == plain.recommend({"item_id": [7, 8]})


@pytest.mark.usefixtures("nothing_left")
def test_threads(many, protocol, url):
    with Client(url(many, protocol), "shop", shared_memory=True) as client:
        wrong: list = []

        def ask(number: int) -> None:
            for turn in range(8):
                item = f"{number}-{turn}"
                if client.recommend([{**EVENT, "item_id": item}]).item_ids != [item]:
                    wrong.append(item)

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert wrong == []


@pytest.mark.usefixtures("nothing_left")
def test_errors_leave_nothing_behind_either(many, protocol, url):
    with Client(url(many, protocol), "shop", shared_memory=True) as client:
        with pytest.raises(RequestRejected, match="top_k is 11"):
            client.recommend([EVENT], k=11)
        assert client.recommend([EVENT]).item_ids == ["a"]
    with Client(url(many, protocol), "late", shared_memory=True, timeout_s=0.5) as client, pytest.raises(ServerTimeout):
        client.recommend([EVENT])
        # The server is still writing into the block: close() waits until it lets go of it.


def test_a_server_that_was_started_anew_knows_no_block(tmp_path, protocol):
    server_package = pytest.importorskip("nextitem_server")
    write_alone(tmp_path)
    given = {"options": ["--disable-auto-complete-config"], "open_apis": ["shared-memory"]}
    server = server_package.TritonServer(tmp_path, **given).start()
    port = getattr(server.ports, protocol)
    with contextlib.ExitStack() as stack:
        stack.callback(server.stop, kill=True)
        client = stack.enter_context(Client(f"{protocol}://127.0.0.1:{port}", shared_memory=True, retries=4))
        client.recommend([EVENT])
        server.stop(kill=True)
        again = server_package.TritonServer(tmp_path, **given, **{f"{protocol}_port": port}).start()
        stack.callback(again.stop, kill=True)
        assert client.recommend([EVENT]).item_ids == ["a"]


def test_a_server_elsewhere(many, protocol):
    refused = {
        "http": (400, {}, b'{"error": "Unable to open shared memory region: \'/psm_x\'"}'),
        "grpc": ("INVALID_ARGUMENT", "Unable to open shared memory region: '/psm_x'"),
    }[protocol]
    before = set(os.listdir(MEMORY))
    with gateway_to(many, protocol) as gateway, Client(gateway.url, "shop", shared_memory=True) as client:
        gateway.script = [refused]
        with pytest.raises(InvalidOption, match="must run on the same host and share /dev/shm"):
            client.recommend([EVENT])
    assert {name for name in set(os.listdir(MEMORY)) - before if name.startswith("psm_")} == set()


def test_no_memory_to_be_had(many, monkeypatch):
    def refuse(size: int) -> None:
        raise OSError(28, "No space left on device")

    with Client(many.http_url, "shop", shared_memory=True) as client:
        monkeypatch.setattr("nextitem_client._shared_memory.Block", refuse)
        with pytest.raises(InvalidOption, match=r"cannot be had .*No space left.*Enlarge /dev/shm"):
            client.recommend([EVENT])


def test_answers_larger_than_their_room():
    block = Block(4096)
    try:
        block.write({}, {"item_ids": 16, "scores": 8})
        with pytest.raises(UnexpectedResponse, match="more than was asked for"):
            block.read("scores", "FP32", [1, 3])
        offset = block.outputs["item_ids"][0]
        block.memory.buf[offset : offset + 4] = (100).to_bytes(4, "little")
        with pytest.raises(UnexpectedResponse, match="longer item ids"):
            block.read("item_ids", "BYTES", [1, 2])
        assert block.read("item_ids", "BYTES", [0, 2]).shape == (0, 2)
    finally:
        block.remove()


def test_a_process_that_forgets_to_close(many):
    """Its memory goes with it: Python's resource tracker sees to that."""
    before = set(os.listdir(MEMORY))
    code = (
        "import os, sys; from nextitem_client import Client; "
        "client = Client(sys.argv[1], 'shop', shared_memory=True); "
        f"client.recommend([{EVENT!r}]); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", code, many.http_url], check=True, capture_output=True)
    for _ in range(50):
        left = {name for name in set(os.listdir(MEMORY)) - before if name.startswith("psm_")}
        if not left:
            return
        threading.Event().wait(0.1)
    raise AssertionError(left)
