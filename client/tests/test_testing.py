"""The fake server answers as a real one would; a real Triton is the reference where both can be asked."""

import asyncio
import json
import time

import pytest
from client.tests.support.models import EVENT, SIGNATURE

import nextitem_client as nextitem
from nextitem_client import testing
from nextitem_client.testing import FakeAnswer, FakeServer, fake_async_client, fake_client

FEATURES = {"item_id": "string", "timestamp": "datetime"}
SESSION = {"item_id": ["A12", None], "timestamp": ["1970-01-01T00:00:01Z", None]}


def test_a_fixed_list():
    client = fake_client(["B7", "C3", "A12"], features=FEATURES)
    answer = client.recommend(SESSION, k=2)
    assert (answer.item_ids, answer.scores, answer.status) == (["B7", "C3"], [1.0, 0.5], "ok")
    assert (answer.model, answer.model_version) == ("fake", "1")
    assert client.recommend(SESSION, exclude_seen=True).item_ids == ["B7", "C3"]
    assert client.recommend(SESSION, exclude=["B7"]).item_ids == ["C3", "A12"]
    assert client.recommend(SESSION, allow=["A12"]).item_ids == ["A12"]
    assert client.recommend([]).status == "empty"


def test_a_function_and_what_it_sees():
    def answer(request):
        return FakeAnswer(request.session["item_id"][:1] * 2, [3.0, 2.0], "cold")

    server = FakeServer(answer, features=FEATURES)
    found = server.client().recommend(SESSION, k=7, exclude=["x"], allow=["A12"], request_id="r")
    assert (found.item_ids, found.scores, found.status) == (["A12", "A12"], [3.0, 2.0], "cold")
    request = server.requests[0]
    assert request.session == {"item_id": ["A12", None], "timestamp": [10**9, None]}
    assert (request.k, request.exclude, request.allow, request.request_id) == (7, ["x"], ["A12"], "r")
    assert request.exclude_seen is False


def test_many_sessions_and_asyncio():
    server = FakeServer(lambda request: request.session["item_id"][::-1], max_sessions_per_request=2)
    sessions = [{"item_id": [f"i{number}", "x"]} for number in range(5)]
    expected = [["x", f"i{number}"] for number in range(5)]
    assert [answer.item_ids for answer in server.client().recommend_many(sessions)] == expected

    async def ask():
        async with server.async_client() as client, fake_async_client([1], features={"id": "integer"}) as other:
            assert (await other.recommend({"id": [5]})).item_ids == [1]
            return await client.recommend_many(sessions)

    assert [answer.item_ids for answer in asyncio.run(ask())] == expected


@pytest.mark.parametrize(
    ("session", "where"),
    [
        ({"item_id": ["a"], "price": [1.5]}, "Session 1"),
        ([{"item_id": "a"}, {"item_id": "b", "price": 1.5}], "Event 1 of session 1"),
    ],
)
def test_attributes_that_the_catalogue_has_are_not_sent(session, where):
    server = FakeServer(["b"], catalogue={"price": "float", "colour": "string"})
    refusal = (
        f"^{where} cannot be sent, since the catalogue has 'price' of each item: leave it away; "
        r"nextitem-catalogue update changes it\.$"
    )
    sessions = [{"item_id": ["a"]}, session]
    with pytest.raises(nextitem.InvalidSession, match=refusal):
        server.client().recommend_many(sessions)

    async def ask():
        async with server.async_client() as client:
            await client.recommend_many(sessions)

    with pytest.raises(nextitem.InvalidSession, match=refusal):
        asyncio.run(ask())
    assert server.requests == []


def test_all_kinds_of_features_arrive():
    kinds = {"item_id": "integer", "new": "boolean", "price": "float", "at": "datetime", "name": "string"}
    server = FakeServer([1], features=kinds, item_column="item_id")
    server.client().recommend([{"item_id": 5, "new": True, "price": 1.5, "at": 7, "name": "ä"}, dict.fromkeys(kinds)])
    assert server.requests[0].session == {
        "item_id": [5, None], "new": [True, None], "price": [1.5, None], "at": [7, None], "name": ["ä", None],
    }  # fmt: skip


def test_validation_is_the_real_one():
    client = fake_client(["a"], features=FEATURES, options=("session_length",), top_k_default=3)
    with pytest.raises(nextitem.InvalidSession, match=r"did you mean item_id\?"):
        client.recommend([{"itemid": "a", "timestamp": 0}])
    with pytest.raises(nextitem.UnsupportedOption, match="fixed at 3"):
        client.recommend(SESSION, k=2)
    with pytest.raises(nextitem.UnsupportedOption, match="exclude_seen"):
        client.recommend(SESSION, exclude_seen=True)


def test_what_a_real_server_refuses_as_well(many):
    """The signature of a real model; both servers refuse k, and agree about answers."""
    fake = FakeServer(["a"], signature=json.dumps(SIGNATURE), model="shop").client()
    with nextitem.Client(many.http_url, "shop") as real:
        assert fake.signature == real.signature
        for client in (fake, real):
            with pytest.raises(nextitem.RequestRejected, match=r"top_k.* is 11; expected is 1 to"):
                client.recommend([EVENT], k=11)
        assert fake.recommend([EVENT]).item_ids == real.recommend([EVENT]).item_ids
    with pytest.raises(nextitem.RequestRejected, match="51 interactions; expected are at most 50"):
        fake.recommend([EVENT] * 51)
    with pytest.raises(nextitem.RequestRejected, match="text of 33 bytes; expected are at most 32"):
        fake.recommend([{**EVENT, "item_id": "x" * 33}])


def test_failures_are_repeated_as_ever():
    server = FakeServer(["a"])
    client = server.client(retries=1)
    server.fail(nextitem.ServerUnavailable("down"))
    assert client.recommend({"item_id": ["b"]}).item_ids == ["a"]
    server.fail(*[nextitem.ServerUnavailable("down")] * 2)
    with pytest.raises(nextitem.ServerUnavailable, match=r"down Tried 2 times"):
        client.recommend({"item_id": ["b"]})
    server.fail(nextitem.ServerTimeout("late"))
    before = time.monotonic()
    with pytest.raises(nextitem.ServerTimeout, match=r"^late$"):
        client.recommend({"item_id": ["b"]})
    assert time.monotonic() - before < 0.1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"features": {"item_id": "text"}}, r"has the kinds text; expected is .* string, integer"),
        ({"features": {}}, r"features has the kinds \(none\)"),
        (
            {"catalogue": {"price": "number"}},
            r"catalogue has the kinds number; expected is .* of the kinds string, integer",
        ),
    ],
)
def test_features_that_cannot_be_meant(options, message):
    with pytest.raises(nextitem.InvalidOption, match=message):
        FakeServer(["a"], **options)


def test_answers_that_cannot_be_meant():
    with pytest.raises(nextitem.InvalidOption, match=r"fake's answer holds 5 \(int\); expected is a str"):
        fake_client([5]).recommend({"item_id": ["a"]})
    with pytest.raises(nextitem.InvalidOption, match="2 item_ids and 1 scores"):
        fake_client(FakeAnswer(["a", "b"], [1.0])).recommend({"item_id": ["a"]})
    with pytest.raises(nextitem.UnsupportedSignature, match="item_column nothing is no feature"):
        FakeServer(["a"], item_column="nothing")


def test_another_model_is_not_there():
    server = FakeServer(["a"])
    client = server.client()
    server.model = "renamed"
    with pytest.raises(nextitem.ModelNotFound, match=r"no ready model fake; .*: renamed"):
        client.recommend({"item_id": ["a"]})


def test_the_example_of_the_module_runs():
    example = testing.__doc__.split("\n\n", 1)[1].split("\n\nThe clients")[0]
    exec(example, {})
