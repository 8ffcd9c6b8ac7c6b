"""The client against a real Triton whose models echo what they received."""

import asyncio
import json
import math
import socket
import struct
import sys
import threading
import time
import urllib.request
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest

import nextitem_client as nextitem
from nextitem_client import Client

INT64_MIN = -(2**63)
EVENT = {"item_id": "a", "timestamp": 5, "category": 7, "is_new": True, "price": 1.5}


@pytest.fixture
def shop(many, protocol, url):
    with Client(url(many, protocol), "shop") as client:
        yield client


def test_what_arrives_bit_for_bit(shop, received):
    events = [
        {"item_id": "ä🛒", "timestamp": datetime(2024, 5, 1, 10, 0, 0, 1), "category": 2**63 - 1,
         "is_new": True, "price": 0.1},
        {"item_id": None, "timestamp": None, "category": None, "is_new": None, "price": None},
        {"item_id": float("nan"), "timestamp": np.datetime64("NaT"), "category": math.nan,
         "is_new": False, "price": math.nan},
    ]  # fmt: skip
    row = received(shop.recommend(events, k=2))
    assert row["item_id"] == ["ä🛒".encode(), b"", b""]
    assert row["timestamp"] == [1714557600000001000, INT64_MIN, INT64_MIN]
    assert row["category"] == [2**63 - 1, INT64_MIN, INT64_MIN]
    assert row["is_new"] == [1, INT64_MIN, 0]
    assert row["price"][0] == struct.unpack("f", struct.pack("f", 0.1))[0]
    assert all(math.isnan(price) for price in row["price"][1:])
    assert row["session_length"] == [3]
    assert row["top_k"] == [2]


def test_rows_are_padded_on_the_right_and_answered_in_order(shop, received):
    sessions = [[EVENT], [], [EVENT] * 3]
    answers = shop.recommend_many(sessions)
    rows = [received(answer) for answer in answers]
    assert [row["session_length"] for row in rows] == [[1], [0], [3]]
    assert [row["item_id"] for row in rows] == [[b"a", b"", b""], [b""] * 3, [b"a"] * 3]
    assert rows[0]["category"] == [7, INT64_MIN, INT64_MIN]
    assert [row["top_k"] for row in rows] == [[3]] * 3, "the default is sent, so requests batch"
    assert [answer.item_ids for answer in answers] == [["a"], [], ["a"] * 3]
    assert [len(answer.scores) for answer in answers] == [1, 0, 3]


def test_an_empty_session_alone_has_one_column_of_padding(shop, received):
    for empty in ([], {name: [] for name in EVENT}, {**{name: [] for name in EVENT}, "price": 1.0}):
        row = received(shop.recommend(empty))
        assert row["item_id"] == [b""]
        assert row["session_length"] == [0]


def test_no_session_needs_no_request(many):
    with Client(many.http_url, "slow", timeout_s=0.5) as client:
        assert client.recommend_many([]) == []


def test_more_sessions_than_one_request_may_hold(shop):
    sessions = [[{**EVENT, "item_id": f"i{number}"}] * (1 + number % 3) for number in range(11)]
    answers = shop.recommend_many(iter(sessions), k=1)
    assert [answer.item_ids for answer in answers] == [[f"i{number}"] for number in range(11)]


def test_columns_are_the_same_as_events(shop):
    columns = {
        "item_id": ["a", "b"],
        "timestamp": np.array(["2024-05-01T10:00", "2024-05-01T10:01"], dtype="datetime64[s]"),
        "category": np.array([1, 2], dtype=np.uint8),
        "is_new": np.array([True, False]),
        "price": 2,
    }
    events = [
        {"item_id": "a", "timestamp": "2024-05-01T10:00:00Z", "category": 1, "is_new": True, "price": 2.0},
        {"item_id": "b", "timestamp": "2024-05-01T12:01:00+02:00", "category": 2, "is_new": False, "price": 2.0},
    ]  # fmt: skip
    assert shop.recommend(columns) == shop.recommend(events)
    assert shop.recommend({name: values[0] for name, values in columns.items() if name != "price"}
                          | {"price": 2}) == shop.recommend(events[:1])  # fmt: skip


def test_pandas_columns(shop, received):
    pandas = pytest.importorskip("pandas")
    moments = pandas.to_datetime(["2024-05-01T10:00:00.123456789", None]).tz_localize("UTC")
    frame = pandas.DataFrame({
        "item_id": pandas.array(["a", None], dtype="string"),
        "timestamp": moments.tz_convert("Asia/Tokyo"),
        "category": pandas.array([2**62 + 1, None], dtype="Int64"),
        "is_new": pandas.array([True, None], dtype="boolean"),
        "price": [1.0, None],
    })  # fmt: skip
    row = received(shop.recommend({name: frame[name] for name in frame}))
    assert row["item_id"] == [b"a", b""]
    assert row["timestamp"] == [1714557600123456789, INT64_MIN]
    assert row["category"] == [2**62 + 1, INT64_MIN]
    assert row["is_new"] == [1, INT64_MIN]


def test_the_answer(shop):
    answer = shop.recommend([{**EVENT, "item_id": item} for item in ("x", "ÿ🧺", "z")], k=10)
    assert answer.item_ids == ["z", "ÿ🧺", "x"]
    assert answer.scores == (-np.arange(3, dtype=np.float32) / 3).tolist()
    assert answer.model == "shop"
    assert answer.model_version == "7"


def test_integer_items_and_a_fixed_k(many, protocol, url, received):
    with Client(url(many, protocol), "numbers") as client:
        answer = client.recommend({"item_id": [2**53 + 1, 2**63 - 1]})
        assert answer.item_ids == [2**63 - 1, 2**53 + 1]
        assert all(type(item) is int for item in answer.item_ids)
        assert "top_k" not in received(answer)
        with pytest.raises(nextitem.InvalidOption, match=r"k=5 .* fixed at 3"):
            client.recommend([], k=5)


def test_the_signature(shop):
    assert shop.model == "shop"
    assert shop.signature.feature_names == tuple(EVENT)
    assert shop.signature.top_k_limit == 10


def test_the_only_model_is_found(alone, protocol, url):
    with Client(url(alone, protocol)) as client:
        assert client.model == "shop"
        assert client.recommend([EVENT]).item_ids == ["a"]


def test_threads_share_a_client(shop):
    wrong: list[object] = []

    def ask(number: int) -> None:
        for turn in range(5):
            item = f"{number}-{turn}"
            try:
                if shop.recommend([{**EVENT, "item_id": item}]).item_ids != [item]:
                    wrong.append(item)
            except Exception as error:  # noqa: BLE001 -- whatever a thread raises is the finding
                wrong.append(error)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


# Errors: every class of the tree is reached.


def test_rejected_by_the_server(shop):
    with pytest.raises(nextitem.RequestRejected, match=r"^(\[.*\] )?top_k is 11; expected is 1 to"):
        shop.recommend([EVENT], k=11)
    assert shop.recommend([EVENT]).item_ids == ["a"], "the client goes on"


@pytest.mark.parametrize("k", ["5", 2.0, True, 2**31])
def test_k_that_is_no_int(shop, k):
    with pytest.raises(nextitem.InvalidOption, match="expected is an int from 1 to 10"):
        shop.recommend([EVENT], k=k)


def test_nobody_there(protocol):
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound, not listening: nobody else gets the port
        target = f"{protocol}://127.0.0.1:{closed.getsockname()[1]}"
        with pytest.raises(nextitem.ServerUnavailable, match=rf"No server answers at {target}"):
            Client(target)
    with pytest.raises(nextitem.ServerUnavailable, match="No server answers"):
        Client(f"{protocol}://no-such-host.invalid:8000")


def test_somebody_who_never_answers(protocol):
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        target = f"{protocol}://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(nextitem.ServerTimeout, match=r"did not answer within 0\.3 s"):
            Client(target, timeout_s=0.3)


def test_too_slow_an_answer(many, protocol, url):
    with Client(url(many, protocol), "slow", timeout_s=1.0) as client:
        before = time.monotonic()
        with pytest.raises(nextitem.ServerTimeout, match="within 1 s"):
            client.recommend([EVENT])
        assert time.monotonic() - before < 2.5


def test_the_wrong_port_or_protocol(many):
    http, grpc = many.http_url, many.grpc_url
    metrics = many.metrics_url.removesuffix("/metrics")
    wrong = [
        grpc.replace("grpc:", "http:"),
        http.replace("http:", "grpc:"),
        http.replace("http:", "https:"),
        grpc.replace("grpc:", "grpcs:"),
        metrics,
        metrics.replace("http:", "grpc:"),
    ]
    for target in wrong:
        for model in (None, "shop"):
            with pytest.raises(nextitem.WrongProtocol, match=f"listens at {target} does not speak"):
                Client(target, model, timeout_s=3.0)


def test_a_model_that_is_not_there(many, protocol, url):
    with pytest.raises(nextitem.ModelNotFound, match=r"no ready model shpo \(did you mean shop\?\); .*numbers, .*shop"):
        Client(url(many, protocol), "shpo")


def test_several_models(many, protocol, url):
    with pytest.raises(nextitem.AmbiguousModel, match=r"damaged, future, late, numbers, ragged, readme, shop"):
        Client(url(many, protocol))


def test_a_step_is_no_model_to_ask(many, protocol, url):
    with pytest.raises(nextitem.NotANextItemModel, match=r"shop_retrieval .* no nextitem.signature"):
        Client(url(many, protocol), "shop_retrieval")


def test_signatures_that_cannot_be_read(many, protocol, url):
    with pytest.raises(nextitem.UnsupportedSignature, match=r"format_version 99.*pip install"):
        Client(url(many, protocol), "future")
    with pytest.raises(nextitem.UnsupportedSignature, match=r"damaged.*export the bundle again"):
        Client(url(many, protocol), "damaged")


def test_an_answer_of_the_wrong_shape(many, protocol, url):
    with (
        Client(url(many, protocol), "ragged") as client,
        pytest.raises(nextitem.UnexpectedResponse, match=r"scores \(1, 2\)"),
    ):
        client.recommend([EVENT], k=3)


def test_a_model_that_was_unloaded(alone, protocol, url):
    client = Client(url(alone, protocol), "shop")
    _control(alone, "unload")
    try:
        with pytest.raises(nextitem.ModelNotFound, match=r"no ready model shop; .*: none"):
            client.recommend([EVENT])
        with pytest.raises(nextitem.ModelNotFound, match="has no ready nextitem model"):
            Client(url(alone, protocol))
    finally:
        _control(alone, "load")
    assert client.recommend([EVENT]).item_ids == ["a"]
    client.close()


def _control(server, verb: str) -> None:
    target = f"{server.http_url}/v2/repository/models/shop/{verb}"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    opener.open(urllib.request.Request(target, method="POST", data=b"{}"), timeout=20).close()
    if verb == "unload":  # answered before it is done
        deadline = time.monotonic() + 10
        while "READY" in _states(server):
            assert time.monotonic() < deadline
            time.sleep(0.05)


def _states(server) -> list:
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(f"{server.http_url}/v2/repository/index", data=b"{}", timeout=20) as answer:
        return [model.get("state") for model in json.load(answer) if model["name"] == "shop"]


def test_a_closed_client(many, protocol, url):
    client = Client(url(many, protocol), "shop")
    client.close()
    client.close()
    with pytest.raises(nextitem.ClientClosed, match="make a new Client"):
        client.recommend([EVENT])


@pytest.mark.parametrize(
    "target", ["127.0.0.1:8000", "ftp://127.0.0.1:8000", "grpc://127.0.0.1", "http://a:b", "", None]
)
def test_urls_that_cannot_be_meant(target):
    with pytest.raises(nextitem.InvalidOption, match=r"http://host:8000 or grpc://host:8001"):
        Client(target)


@pytest.mark.parametrize("timeout_s", [0, -1, math.inf, math.nan])
def test_timeouts_that_cannot_be_meant(timeout_s):
    with pytest.raises(nextitem.InvalidOption, match="number of seconds > 0"):
        Client("http://127.0.0.1:1", timeout_s=timeout_s)


def test_one_session_where_many_are_expected(shop):
    with pytest.raises(nextitem.InvalidSession, match="call recommend"):
        shop.recommend_many(EVENT)


def test_every_error_is_in_the_drawn_tree():
    import nextitem_client._exceptions as module

    drawn = module.__doc__
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    assert len(classes) == 20
    for error in classes:
        assert issubclass(error, nextitem.NextItemError)
        assert error.__name__ in drawn
        assert error.__name__ in nextitem.__all__


def test_aware_times_of_any_zone(shop, received):
    tokyo = timezone(timedelta(hours=9))
    row = received(shop.recommend([{**EVENT, "timestamp": datetime(2024, 5, 1, 19, tzinfo=tokyo)}]))
    assert row["timestamp"] == [1714557600 * 10**9]


def test_packages_that_are_missing(monkeypatch):
    for name, make in (
        ("tritonclient.http", lambda: Client("http://127.0.0.1:1", "shop")),
        ("tritonclient.grpc", lambda: Client("grpc://127.0.0.1:1", "shop")),
        ("aiohttp", lambda: asyncio.run(nextitem.AsyncClient("http://127.0.0.1:1", "shop").open())),
    ):
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, name, None)
            with pytest.raises(nextitem.MissingPackage, match=r"pip install 'tritonclient\[http,grpc\]>=2\.51'"):
                make()
