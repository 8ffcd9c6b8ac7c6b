"""Further heads of a model are further outputs of a running Triton: the values that the model gives offline."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from nextitem_client import Client, OfflineClient
from nextitem_server import TritonServer
from serving_tests.support.commands import run_command
from serving_tests.support.encoding import encode_sessions
from serving_tests.support.made.cache import Made
from serving_tests.support.made.heads_shop import BUNDLES, HEADS, WINDOW, HeadsShop, opened
from serving_tests.support.processes import running_triton
from serving_tests.support.ranking import LOWEST
from serving_tests.support.raw_client import Answer, RawClient

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own
ASKED = [
    ("heads", "http"),
    ("heads", "grpc"),
    ("heads_fused", "http"),
    ("heads_fused", "grpc"),
    ("heads_torchscript", "grpc"),
    ("heads_fused_torchscript", "http"),
]


@pytest.fixture(scope="module")
def shop(made: Made, sessions: list[pd.DataFrame], tmp_path_factory: pytest.TempPathFactory) -> HeadsShop:
    return opened(made.repository("heads", tmp_path_factory.mktemp("heads") / "copy"), sessions)


@pytest.fixture(scope="module")
def running(shop: HeadsShop) -> Iterator[TritonServer]:
    with running_triton(shop.repository) as server:
        yield server


@pytest.fixture(scope="module", params=ASKED, ids="-".join)
def raw_client(request: pytest.FixtureRequest, running: TritonServer) -> Iterator[RawClient]:
    name, protocol = request.param
    raw_client = RawClient(protocol, getattr(running, f"{protocol}_url"), name)
    yield raw_client
    raw_client.close()


def ask(raw_client: RawClient, shop: HeadsShop, batch: list[pd.DataFrame], k: int = 20) -> Answer:
    top_k = np.full((len(batch), 1), k, dtype=np.int32)
    return raw_client.ask(encode_sessions(shop.features, batch) | {"top_k": top_k})


def assert_heads(shop: HeadsShop, heads: dict[str, np.ndarray], rows: list[int]) -> None:
    """Fail unless these are the heads of the shop's sessions in `rows`."""
    assert list(heads) == list(HEADS)
    for name, width in HEADS.items():
        assert heads[name].shape == (len(rows), width)
        assert heads[name].dtype == np.float32
        np.testing.assert_allclose(heads[name], shop.heads[name][rows], rtol=1e-5, atol=1e-4, err_msg=name)


def test_the_judge_tells_sessions_apart(shop: HeadsShop) -> None:
    """Without this the tests below could not fail."""
    for name in HEADS:
        values = np.unique(shop.heads[name].round(3), axis=0)
        assert len(values) > 0.9 * len({tuple(session.item_id[-WINDOW:]) for session in shop.sessions})


def test_each_session_has_its_heads_in_its_row(raw_client: RawClient, shop: HeadsShop) -> None:
    rows = list(range(len(shop.sessions)))
    for order in (rows, rows[::-1]):
        answer = ask(raw_client, shop, [shop.sessions[row] for row in order])
        assert answer.item_ids.shape == (len(rows), 20)
        assert_heads(shop, answer.heads, order)


def test_heads_do_not_depend_on_neighbours_k_and_padding(raw_client: RawClient, shop: HeadsShop) -> None:
    for row in (0, 7, 30):
        assert_heads(shop, ask(raw_client, shop, [shop.sessions[row]], k=1).heads, [row])
    garbage = encode_sessions(shop.features, shop.sessions)
    beyond = np.arange(garbage["item_id"].shape[1]) >= garbage["session_length"]
    for name in set(garbage) - {"session_length"}:
        garbage[name][beyond] = garbage[name][0, 0]
    assert_heads(shop, raw_client.ask(garbage).heads, list(range(len(shop.sessions))))


def test_filters_leave_the_heads_alone(raw_client: RawClient, shop: HeadsShop) -> None:
    only = np.array([[b"A13"], [b"B4"]], dtype=object)
    answer = raw_client.ask(encode_sessions(shop.features, shop.sessions[:2]) | {"allow_item_ids": only})
    assert (answer.item_ids[:, 1:] == "").all()
    assert_heads(shop, answer.heads, [0, 1])


def test_cold_and_empty_sessions_have_null(raw_client: RawClient, shop: HeadsShop) -> None:
    session = shop.sessions[0]
    batch = [session.assign(item_id="never seen"), session, session.iloc[:0]]
    answer = ask(raw_client, shop, batch)
    assert answer.status == ["cold", "ok", "empty"]
    for values in answer.heads.values():
        assert (values[[0, 2]] == LOWEST).all()
    assert_heads(shop, {name: values[1:2] for name, values in answer.heads.items()}, [0])
    for alone in (batch[0], batch[2]):
        assert all((values == LOWEST).all() for values in ask(raw_client, shop, [alone]).heads.values())


def test_concurrent_requests_do_not_mix(raw_client: RawClient, shop: HeadsShop, running: TritonServer) -> None:
    def one(row: int) -> Answer:
        own = RawClient(raw_client.protocol, getattr(running, f"{raw_client.protocol}_url"), raw_client.model)
        try:
            return ask(own, shop, [shop.sessions[row]], k=1 + row % 5)
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(24)))
    for row, answer in enumerate(answers):
        assert answer.item_ids.shape == (1, 1 + row % 5)
        assert_heads(shop, answer.heads, [row])


def raw(session: pd.DataFrame) -> dict[str, list]:
    return session.drop(columns="session_id").to_dict("list")


@pytest.mark.parametrize("name", BUNDLES)
def test_the_client_has_them_over_each_way(shop: HeadsShop, running: TritonServer, name: str) -> None:
    needed = [feature["name"] for feature in shop.features]
    sessions = [{column: raw(session)[column] for column in needed} for session in shop.sessions[:3]]
    with (
        Client(running.http_url, name) as http,
        Client(running.grpc_url, name) as grpc,
        OfflineClient(shop.repository / name) as offline,
    ):
        assert {head.name: head.width for head in http.signature.heads} == HEADS
        for client in (http, grpc, offline):
            *known, cold, empty = client.recommend_many([*sessions, {**sessions[0], "item_id": "new"}, []], k=1)
            heads = {head: np.array([one.heads[head] for one in known], dtype=np.float32) for head in HEADS}
            assert_heads(shop, heads, [0, 1, 2])
            assert cold.heads == empty.heads == {"is_buy": [None], "style": [None, None, None]}


def test_the_command_prints_them(shop: HeadsShop, running: TritonServer, tmp_path) -> None:
    session = {column: raw(shop.sessions[0])[column] for column in (feature["name"] for feature in shop.features)}
    (tmp_path / "session.json").write_text(json.dumps(session, default=str))
    asked = ("--session", tmp_path / "session.json", "--json")
    for where in (("--url", running.http_url, "--model", "heads_fused"), ("--bundle", shop.repository / "heads")):
        printed = json.loads(run_command("nextitem-recommend", *where, *asked).stdout)
        heads = {name: np.array([values], dtype=np.float32) for name, values in printed["heads"].items()}
        assert_heads(shop, heads, [0])
