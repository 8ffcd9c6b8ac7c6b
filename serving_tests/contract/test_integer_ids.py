"""Item ids of INT64 up to the type's limits, over the wire and in filters, and lists as wide as they may be."""

from __future__ import annotations

import json
import urllib.request
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest

from serving_tests.support.encoding import NULL_INT64, encode_ids, encode_sessions
from serving_tests.support.filtering import Filters
from serving_tests.support.made import warehouse
from serving_tests.support.made.shop import PROTOCOLS
from serving_tests.support.made.warehouse import LIMITS, NEIGHBOURS, WINDOW
from serving_tests.support.ranking import LOWEST, assert_true
from serving_tests.support.raw_client import Answer, RawClient, Refused

FEATURES = [
    {"name": "item_id", "datatype": "INT64"},
    {"name": "timestamp", "datatype": "INT64"},
    {"name": "shelf", "datatype": "INT64"},
    {"name": "weight", "datatype": "FP32"},
]
NONE = Filters()
UNKNOWN = [LIMITS.max - 3, LIMITS.min + 4, 2**53 + 2, 2**31 + 1, 2**62 + 12345]


@pytest.fixture(scope="module", params=PROTOCOLS)
def clerk(request: pytest.FixtureRequest, server) -> Iterator[RawClient]:
    raw_client = RawClient(request.param, getattr(server, f"{request.param}_url"), warehouse.NAME)
    yield raw_client
    raw_client.close()


def visit(*items: int | None) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "item_id": pd.array(items, dtype="Int64"),
            "timestamp": pd.date_range("2024-03-01", periods=len(items), freq="min"),
            "shelf": np.full(len(items), LIMITS.max),
            "weight": np.ones(len(items), dtype=np.float32),
        }
    )


@pytest.fixture
def ask(clerk: RawClient, warehouse_reference):
    """Asks with filters, holds the answer to offline's and returns it."""

    def asked(batch: list[pd.DataFrame], filters: Filters = NONE, top_k: int = 20) -> Answer:
        wanted = {"top_k": np.full((len(batch), 1), top_k, dtype=np.int32)}
        answer = clerk.ask(encode_sessions(FEATURES, batch) | wanted | filters.tensors(NULL_INT64))
        assert answer.item_ids.dtype == np.int64
        barred = filters.barred(warehouse_reference.item_ids, [session.item_id.tolist() for session in batch])
        barred[:, :3] = False  # the special codes' id is null's, which bars nothing
        assert_true(warehouse_reference, [session.assign(visit=0) for session in batch], answer, barred, "visit")
        return answer

    return asked


def test_the_catalogue_holds_the_limits(warehouse_reference) -> None:
    known = set(warehouse_reference.item_ids[3:].tolist())
    assert set(NEIGHBOURS) <= known
    assert not set(UNKNOWN) & known
    assert len(known) > 16_384


def test_neighbours_of_the_limits_are_told_apart(ask) -> None:
    answers = ask([visit(item) for item in NEIGHBOURS])
    assert answers.status == ["ok"] * len(NEIGHBOURS)
    assert len(np.unique(answers.scores, axis=0)) == len(NEIGHBOURS)
    assert ask([visit(item) for item in UNKNOWN]).status == ["cold"] * len(UNKNOWN)
    assert ask([visit(None), visit(None, NEIGHBOURS[0])]).status == ["cold", "ok"]


def test_random_visits_are_answered_as_offline(ask, warehouse_reference) -> None:
    random = np.random.default_rng(1)
    catalogue = warehouse_reference.item_ids[3:]
    for size in (1, 7, 64):
        lengths = random.integers(0, 5 * WINDOW, size)
        batch = [visit(*random.choice([*catalogue[:500], *UNKNOWN], length).tolist()) for length in lengths]
        lists = [random.choice([*NEIGHBOURS, *UNKNOWN, *catalogue[:100]], 30).tolist() for _ in batch]
        ask(batch, Filters(excluded=lists, seen=(random.random(size) < 0.5).tolist()), top_k=50)


def test_filters_tell_neighbours_apart(ask) -> None:
    session = visit(2**53 + 1)
    for item in NEIGHBOURS:
        allowed = ask([session], Filters(allowed=[[item]]), top_k=3)
        assert allowed.item_ids.tolist() == [[item, NULL_INT64, NULL_INT64]]
        assert (allowed.scores[0, 1:] == LOWEST).all()
    others = ask([session], Filters(allowed=[NEIGHBOURS], excluded=[NEIGHBOURS[::2]]), top_k=30).item_ids[0]
    assert set(others.tolist()) == {*NEIGHBOURS[1::2], NULL_INT64}
    assert set(ask([session], Filters(allowed=[UNKNOWN]), top_k=3).item_ids[0].tolist()) == {NULL_INT64}


def test_the_smallest_int64_is_null_and_sets_no_rule(ask, clerk: RawClient) -> None:
    session = visit(NEIGHBOURS[0], NEIGHBOURS[3])
    free = ask([session]).item_ids.tolist()
    nulls = Filters(excluded=[[None, None]], allowed=[[None]], seen=[False])
    assert ask([session], nulls).item_ids.tolist() == free
    no_list = np.empty((1, 0), dtype=np.int64)
    asked = clerk.ask(encode_sessions(FEATURES, [session]) | {"exclude_item_ids": no_list, "allow_item_ids": no_list})
    assert asked.item_ids.tolist() == free


@pytest.mark.parametrize("count", [64, 65, 1_024, 1_025, 16_384])
def test_lists_are_as_wide_as_they_may_be(ask, warehouse_reference, count: int) -> None:
    items = warehouse_reference.item_ids[3:].tolist()
    excluded = ask([visit(items[0])] * 2, Filters(excluded=[items[:count], [items[0]]]), top_k=warehouse.MAX_TOP_K)
    assert (excluded.item_ids[0] != NULL_INT64).sum() == min(warehouse.MAX_TOP_K, len(items) - count)
    allowed = ask([visit(items[0])] * 2, Filters(allowed=[items[:count], [items[0]]]), top_k=warehouse.MAX_TOP_K)
    assert (allowed.item_ids[0] != NULL_INT64).sum() == min(warehouse.MAX_TOP_K, count)


@pytest.mark.parametrize("name", ["exclude_item_ids", "allow_item_ids"])
def test_wider_lists_are_refused(clerk: RawClient, warehouse_reference, name: str) -> None:
    items = warehouse_reference.item_ids[3:].tolist()
    request = encode_sessions(FEATURES, [visit(items[0])] * 2)
    with pytest.raises(Refused) as refused:
        clerk.ask(request | {name: encode_ids([[], items[:16_385]], NULL_INT64)})
    assert f"'{name}' has 16385 different items for session 1, at most 16384" in str(refused.value)
    seen = {"exclude_seen": np.array([[True], [True]])}
    if name == "exclude_item_ids":
        with pytest.raises(Refused, match=r"16385 different items for session 1.*exclude_seen"):
            clerk.ask(request | seen | {name: encode_ids([[], items[1:16_385]], NULL_INT64)})
    assert clerk.ask(request | {name: encode_ids([[], items[:16_384]], NULL_INT64)}).status == ["ok", "ok"]


def test_plain_json_carries_the_limits_exactly(server) -> None:
    """As a caller without a client: numbers in JSON, not bytes beside it."""
    items = [LIMITS.max, LIMITS.min + 1]
    columns = {"item_id": items, "timestamp": [0, 1], "shelf": [7, 7]}
    inputs = [{"name": k, "shape": [1, 2], "datatype": "INT64", "data": v} for k, v in columns.items()]
    inputs.append({"name": "weight", "shape": [1, 2], "datatype": "FP32", "data": [1, 1]})
    inputs.append({"name": "allow_item_ids", "shape": [1, 3], "datatype": "INT64", "data": [*items, LIMITS.max - 3]})
    inputs.append({"name": "top_k", "shape": [1, 1], "datatype": "INT32", "data": [3]})
    url = f"{server.http_url}/v2/models/{warehouse.NAME}/infer"
    request = urllib.request.Request(url, json.dumps({"inputs": inputs}).encode())
    with urllib.request.urlopen(request, timeout=60) as response:
        outputs = {output["name"]: output["data"] for output in json.load(response)["outputs"]}
    assert set(outputs["item_ids"][:2]) == set(items)
    assert outputs["item_ids"][2] == NULL_INT64
    assert outputs["scores"][2] == float(LOWEST)
