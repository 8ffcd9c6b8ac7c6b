"""What the page on plain HTTP says of values, options and statuses: each is so."""

from __future__ import annotations

import json
import re

import pytest

from nextitem_client import Client
from serving_tests.support.plain_page import FEATURES, PAGE, SESSIONS, ask, blocks, outputs, rows


def good(**options: list) -> dict:
    """A request of one session of one interaction; `options`: the data of tensors."""
    values = {"item_id": "A13", "timestamp": 1218362400000000000, "country": 29, "page": 1, "price": 28}
    data = {name: [values.get(name, "")] for name in FEATURES} | {"session_length": [1], "top_k": [3]} | options
    types = FEATURES | {
        "session_length": "INT32", "top_k": "INT32", "exclude_seen": "BOOL",
        "exclude_item_ids": "BYTES", "allow_item_ids": "BYTES",
    }  # fmt: skip
    inputs = [{"name": n, "datatype": types[n], "shape": [1, len(row)], "data": row} for n, row in data.items()]
    return {"inputs": inputs}


def having_values(name: str, values: list) -> dict:
    """The same, with as many values of one tensor as its shape does not say."""
    return {"inputs": [{**one, "data": values} if one["name"] == name else one for one in good()["inputs"]]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("item_id", ""), ("timestamp", -(2**63)), ("country", -(2**63)), ("price", -3.4028235e38),
        ("price", 28.5), ("country", 2**63 - 1), ("item_id", "no such item"), ("exclude_seen", True),
    ],
)  # fmt: skip
def test_values_that_json_can_hold(server, name: str, value: object) -> None:
    status, text = ask(server.http_url, "shop", good(**{name: [value]}))
    assert status == 200, text
    assert len(outputs(text)["item_ids"]["data"]) == 3


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("item_id", 29), ("item_id", None), ("country", 29.0), ("country", "29"), ("country", True), ("country", None),
        ("country", -9223372036854776000), ("price", "28"), ("price", None), ("top_k", 3.0), ("top_k", None),
        ("session_length", 1.0), ("exclude_seen", 1), ("exclude_seen", 0), ("exclude_seen", None),
    ],
)  # fmt: skip
def test_values_that_are_refused(server, name: str, value: object) -> None:
    status, text = ask(server.http_url, "shop", good(**{name: [value]}))
    assert status == 500
    assert json.loads(text).keys() == {"error"}


def test_null_is_what_the_client_sends_for_none(server) -> None:
    body = good(price=[-3.4028235e38], country=[-(2**63)])  # good() has "" for the rest
    sent = dict.fromkeys(FEATURES) | {"item_id": ["A13"], "timestamp": [1218362400000000000], "page": 1}
    with Client(server.http_url, "shop") as client:
        expected = client.recommend(sent, k=3)
    answer = outputs(ask(server.http_url, "shop", body)[1])
    assert answer["item_ids"]["data"] == expected.item_ids
    assert answer["scores"]["data"] == pytest.approx(expected.scores, abs=1e-4)


def test_the_pages_filter_is_filled_up_with_null(server) -> None:
    (text,) = blocks("Options", "json")
    body = json.loads(re.search(r"-d '(.*)'", blocks("Sessions of different lengths", "sh")[0], re.DOTALL).group(1))
    body["inputs"].append(json.loads(text))
    with Client(server.http_url, "shop") as client:
        expected = client.recommend_many(SESSIONS, k=5, exclude=[["A2", "B4"], ["A11"], []])
    assert rows(outputs(ask(server.http_url, "shop", body)[1])["item_ids"]) == [one.item_ids for one in expected]


def test_an_allow_list_of_null_alone_is_no_rule(server) -> None:
    free, text = (ask(server.http_url, "shop", body)[1] for body in (good(), good(allow_item_ids=["", ""])))
    assert outputs(free)["item_ids"] == outputs(text)["item_ids"]


def test_too_few_items_end_in_null(server) -> None:
    answer = outputs(ask(server.http_url, "shop", good(allow_item_ids=["B4", "no such item"]))[1])
    assert answer["item_ids"]["data"] == ["B4", "", ""]
    assert answer["scores"]["data"][1:] == pytest.approx([-3.4028235e38] * 2)


def test_the_id_comes_back_and_outputs_can_be_chosen(server) -> None:
    answer = json.loads(ask(server.http_url, "shop", {"id": "a-17", "outputs": [{"name": "item_ids"}], **good()})[1])
    assert answer["id"] == "a-17"
    assert [output["name"] for output in answer["outputs"]] == ["item_ids"]


def test_one_version_can_be_asked(server) -> None:
    assert json.loads(ask(server.http_url, "shop/versions/1", good())[1])["model_version"] == "1"
    status, text = ask(server.http_url, "shop/versions/2", good())
    assert status == 404
    assert "version 2 is not found" in text


@pytest.mark.parametrize(
    ("model", "body", "expected"),
    [
        ("shop", good(top_k=[1000]), 400),
        ("shop", {"inputs": good()["inputs"][1:]}, 400),
        ("shop", having_values("item_id", ["A13", "A16"]), 400),
        ("shop", having_values("item_id", []), 400),
        ("shop", having_values("price", [28, 33]), 500),
        ("shop", having_values("price", []), 500),
        ("shpo", good(), 404),
        ("shop", b"item_id=A13", 500),
    ],
)
def test_the_statuses_of_the_table(server, model: str, body: object, expected: int) -> None:
    status, text = ask(server.http_url, model, body)
    assert status == expected, text
    assert json.loads(text).keys() == {"error"}
    assert f"| {expected} |" in PAGE
