"""AsyncClient against Triton: the same answers, concurrency, and the errors of its own I/O."""

import asyncio
import socket
import time

import numpy as np
import pytest
from client.tests.support.gateways import http_gateway
from client.tests.support.models import EVENT

import nextitem_client as nextitem
from nextitem_client import AsyncClient, Client


@pytest.fixture
def ask(many, protocol, url):
    """Run `use(client)` with a client of the model shop."""

    def run(use, model="shop", **options):
        async def within():
            async with AsyncClient(url(many, protocol), model, **options) as client:
                return await use(client)

        return asyncio.run(within())

    return run


def test_the_same_answers_as_client(ask, many, protocol, url):
    sessions = [[{**EVENT, "item_id": f"i{number}"}] * (number % 4) for number in range(23)]
    options = {"k": 2, "exclude": ["i3"], "exclude_seen": [number % 5 == 0 for number in range(23)]}
    with Client(url(many, protocol), "shop") as client:
        expected = client.recommend_many(sessions, **options)
        one = client.recommend(sessions[1], 3, allow=["i1"])
    assert ask(lambda client: client.recommend_many(sessions, **options)) == expected
    assert ask(lambda client: client.recommend(sessions[1], 3, allow=["i1"])) == one
    assert ask(lambda client: client.recommend_many([])) == []


def test_the_signature_and_the_only_model(alone, protocol, url):
    async def use():
        async with AsyncClient(url(alone, protocol)) as client:
            return client.model, client.signature.top_k_limit

    assert asyncio.run(use()) == ("shop", 10)


def test_requests_under_way_are_bounded(many):
    """The model slow answers one request after 3 s; how many are under way is counted before it."""

    async def use(gateway, limit: int) -> int:
        async with AsyncClient(gateway.url, "slow", max_concurrency=limit, timeout_s=1.0) as client:
            gateway.requests = []
            with pytest.raises(nextitem.ServerTimeout):
                await client.recommend_many([[EVENT]] * 40)  # ten requests
            return len(gateway.requests)

    with http_gateway(many.http_url) as gateway:
        assert asyncio.run(use(gateway, 3)) == 3


def test_one_failure_cancels_the_rest(ask, protocol):
    async def use(client):
        good, bad = [[EVENT]] * 4, [[EVENT] * 3] * 4
        with pytest.raises(nextitem.RequestRejected, match="top_k is 11"):
            await client.recommend_many(good + bad, k=11)
        assert len([task for task in asyncio.all_tasks() if not task.done()]) == 1  # this one
        assert (await client.recommend(good[0])).item_ids == ["a"]

    ask(use, max_concurrency=2)


def test_tasks_share_a_client_that_opens_itself(many, protocol, url):
    async def use():
        client = AsyncClient(url(many, protocol), "shop")
        with pytest.raises(nextitem.ClientClosed, match=r"is not open yet: write `async with AsyncClient"):
            client.signature  # noqa: B018
        try:
            return await asyncio.gather(
                *(client.recommend([{**EVENT, "item_id": str(number)}]) for number in range(20))
            )
        finally:
            await client.close()
            await client.close()

    assert [answer.item_ids for answer in asyncio.run(use())] == [[str(number)] for number in range(20)]


def test_a_closed_client(ask):
    async def use(client):
        await client.close()
        with pytest.raises(nextitem.ClientClosed, match="make a new AsyncClient"):
            await client.recommend([EVENT])

    ask(use)


def test_cancelling(ask):
    async def use(client):
        before = time.monotonic()
        with pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(client.recommend([EVENT]), 0.2)
        assert time.monotonic() - before < 1

    ask(use, model="slow")


def test_errors(ask, many, protocol, url):
    async def fails(kind, match, target, model=None, **options):
        before = time.monotonic()
        with pytest.raises(kind, match=match):
            async with AsyncClient(target, model, **options) as client:
                await client.recommend([EVENT])
        assert time.monotonic() - before < 3

    async def use():
        here = url(many, protocol)
        other = f"{protocol}://{url(many, 'grpc' if protocol == 'http' else 'http').split('//')[1]}"
        secure = here.replace(protocol, f"{protocol}s", 1)
        await fails(nextitem.ModelNotFound, "no ready model shpo", here, "shpo")
        await fails(nextitem.AmbiguousModel, "damaged, future", here)
        await fails(nextitem.ServerTimeout, r"within 0\.5 s", here, "slow", timeout_s=0.5)
        await fails(nextitem.WrongProtocol, f"listens at {other} does not speak", other, retries=0)
        await fails(nextitem.WrongProtocol, f"listens at {secure} does not speak", secure, retries=0)
        await fails(nextitem.UnexpectedResponse, r"scores \(1, 2\)", here, "ragged")
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            target = f"{protocol}://127.0.0.1:{closed.getsockname()[1]}"
            await fails(nextitem.ServerUnavailable, rf"No server answers at {target} .* Tried 3 times", target)
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen()
            target = f"{protocol}://127.0.0.1:{silent.getsockname()[1]}"
            await fails(nextitem.ServerTimeout, r"did not answer within 0\.3 s", target, timeout_s=0.3)

    asyncio.run(use())


@pytest.mark.parametrize("limit", [0, 1.5, True, None])
def test_a_concurrency_that_cannot_be_meant(limit):
    with pytest.raises(nextitem.InvalidOption, match=r"max_concurrency is .*; expected is an int, 1 or more"):
        AsyncClient("http://127.0.0.1:1", max_concurrency=limit)


def test_every_public_method_of_client_has_its_twin():
    def public(kind):
        return {name for name in vars(kind) if not name.startswith("_")}

    assert public(AsyncClient) == public(Client) | {"open"}


def test_numpy_columns(ask):
    columns = {name: np.array([value]) for name, value in EVENT.items()}
    assert ask(lambda client: client.recommend(columns)).item_ids == ["a"]
