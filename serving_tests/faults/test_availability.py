"""The operators' availability list, replaced while a Triton with explicit model control answers."""

from __future__ import annotations

import json
import os
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from nextitem_server import TritonServer
from serving_tests.support.bundles import copied
from serving_tests.support.processes import running_triton
from serving_tests.support.raw_client import RawClient

NAMES = ("shop", "shop_torchscript", "shop_fused")
ONE_BUNDLE = pytest.mark.parametrize("name", NAMES[:1], indirect=True)  # the list is read alike for every format


@pytest.fixture(scope="module")
def steered(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton of its own, on a copy whose lists may be changed."""
    copy = tmp_path_factory.mktemp("steered") / "model_repository"
    for name in NAMES:
        copied(repository / name, copy)
    options = ["--model-control-mode=explicit", "--load-model=*"]
    with running_triton(copy, options=options) as running:
        yield running


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest, steered: TritonServer) -> Iterator[str]:
    """A bundle; its list is empty again afterwards."""
    yield request.param
    replace(steered, request.param, '{"unavailable": []}')
    load(steered, request.param)


@pytest.fixture
def asked(name: str, steered: TritonServer) -> Iterator[RawClient]:
    raw_client = RawClient("http", steered.http_url, name)
    yield raw_client
    raw_client.close()


def ranking(name: str) -> str:
    """The retrieval step, or the fused model that is the bundle."""
    return name if "fused" in name else f"{name}_retrieval"


def replace(server: TritonServer, name: str, text: str) -> None:
    """Put a list in place at once, as model_repository/README.md says."""
    path = server.repository / ranking(name) / "1" / "availability.json"
    beside = path.with_suffix(".new")
    beside.write_text(text, encoding="utf-8")
    os.replace(beside, path)


def load(server: TritonServer, name: str) -> str:
    """Call Triton's load API for the retrieval step with the owner's key; returns the error, '' where there is none."""
    url = f"{server.http_url}/v2/repository/models/{ranking(name)}/load"
    try:
        with urllib.request.urlopen(urllib.request.Request(url, b"{}", dict(server.control_headers)), timeout=120):
            return ""
    except urllib.error.HTTPError as error:
        return json.loads(error.read())["error"]


def test_listed_items_are_gone_after_a_load(asked: RawClient, name: str, steered, sessions, encode) -> None:
    request = encode(sessions[:5])
    before = asked.ask(request).item_ids
    gone = sorted({row[0] for row in before})
    replace(steered, name, json.dumps({"unavailable": [*gone, "never seen"]}))
    assert (asked.ask(request).item_ids == before).all()  # until it is loaded
    assert load(steered, name) == ""
    after = asked.ask(request).item_ids
    assert not set(gone) & set(after.ravel())
    for old, new in zip(before.tolist(), after.tolist(), strict=True):
        left = [item for item in old if item not in gone]
        assert new[: len(left)] == left
    replace(steered, name, json.dumps({"available": gone}))
    assert load(steered, name) == ""
    for row in asked.ask(request).item_ids.tolist():
        assert sorted(row[: len(gone)]) == gone
        assert set(row[len(gone) :]) == {""}


@ONE_BUNDLE
def test_nothing_available_leaves_nobody_anything(asked: RawClient, name: str, steered, sessions, encode) -> None:
    replace(steered, name, '{"available": []}')
    assert load(steered, name) == ""
    answer = asked.ask(encode([sessions[0], sessions[0].iloc[:0]]))
    assert answer.status == ["ok", "empty"]
    assert set(answer.item_ids.ravel()) == {""}


@ONE_BUNDLE
@pytest.mark.parametrize(
    ("text", "part"),
    [
        ('{"unavailable": ["A1"', "is no JSON: "),
        ('{"unavailable": [7]}', "lists 7, expected strings, as the raw item ids are"),
        ('["A1"]', 'must hold {"unavailable": [raw item ids]}'),
    ],
)
def test_a_list_that_cannot_be_read_is_refused_and_the_old_one_stays(
    asked: RawClient, name: str, steered, sessions, encode, text: str, part: str
) -> None:
    request = encode(sessions[:3])
    best = asked.ask(request).item_ids[0, 0]
    replace(steered, name, json.dumps({"unavailable": [best]}))
    assert load(steered, name) == ""
    before = asked.ask(request).item_ids
    assert best not in before
    replace(steered, name, text)
    error = load(steered, name)
    assert "availability.json" in error
    assert part in error
    assert (asked.ask(request).item_ids == before).all()


def test_requests_under_way_are_answered_while_the_list_changes(
    asked: RawClient, name, steered, sessions, encode
) -> None:
    request = encode(sessions[:8])
    before = asked.ask(request).item_ids
    gone = before[0, 0]
    answers, under_way, stop = [], threading.Event(), threading.Event()

    def send_on() -> None:
        own = RawClient("http", steered.http_url, name)
        while not stop.is_set():
            answers.append(own.ask(request).item_ids)
            under_way.set()
        own.close()

    with ThreadPoolExecutor(1) as pool:
        sending = pool.submit(send_on)
        try:
            assert under_way.wait(60)
            replace(steered, name, json.dumps({"unavailable": [gone]}))
            assert load(steered, name) == ""
            after = asked.ask(request).item_ids
        finally:
            stop.set()
        sending.result()  # raises what a request was refused with
    assert gone not in after
    assert (answers[0] == before).all()
    # Each answer is the old one or the new one, never a mixture.
    assert all((answer == before).all() or (answer == after).all() for answer in answers)
