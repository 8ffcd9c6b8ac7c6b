"""A server that changes to another version of its bundle while a client asks."""

import asyncio
import json

import pytest

from nextitem_client import RequestRejected, ServerUnavailable
from nextitem_client._signature import parse_signature
from nextitem_client.testing import FakeServer

ITEMS = [f"i{number}" for number in range(30)]


class Shop(FakeServer):
    """A fake whose version and limits may change; reads: how often its signature was read."""

    reads = 0
    down = False

    def change(self, version, **limits):
        document = {**json.loads(self._document), "bundle_version": version, **limits}
        self._document = json.dumps(document)
        self._signature = parse_signature(self._document, self.model)
        self.version = str(version)

    def model_parameters(self, model):
        self.reads += 1
        if self.down:
            raise ServerUnavailable("down")
        return super().model_parameters(model)


@pytest.fixture
def shop():
    return Shop(ITEMS)


def test_the_signature_is_read_again_when_another_version_answers(shop):
    with shop.client(retries=0) as client:
        for _ in range(3):
            assert client.recommend({"item_id": ["a"]}).model_version == "1"
        assert (shop.reads, client.signature.bundle_version) == (1, 1)
        shop.change(2, top_k={"default": 7, "limit": 9})
        assert client.recommend({"item_id": ["a"]}, k=9).model_version == "2"
        assert (shop.reads, client.signature.bundle_version) == (2, 2)
        assert len(client.recommend({"item_id": ["a"]}).item_ids) == 7
        assert shop.reads == 2


def test_a_version_that_is_known_needs_no_reading(shop):
    with shop.client() as client:
        for version in (1, 2, 1, 2, 1):  # as several servers behind one address answer, or a rollback
            shop.change(version)
            client.recommend({"item_id": ["a"]})
            assert client.signature.bundle_version == version
        assert shop.reads == 2


def test_a_request_that_the_new_version_refuses_says_so_and_the_next_one_fits(shop):
    with shop.client() as client:
        shop.change(2, top_k={"default": 7, "limit": 9})
        with pytest.raises(RequestRejected, match=r"changed to version 2 since .* of version 1; .*: repeat the call"):
            client.recommend({"item_id": ["a"]}, k=20)
        assert client.signature.top_k_limit == 9
        assert client.recommend({"item_id": ["a"]}).model_version == "2"


def test_a_signature_that_cannot_be_read_now_costs_no_answer(shop):
    with shop.client(retries=0) as client:
        shop.change(2)
        shop.down = True
        assert client.recommend({"item_id": ["a"]}).model_version == "2"
        assert client.signature.bundle_version == 1
        shop.down = False
        client.recommend({"item_id": ["a"]})
        assert client.signature.bundle_version == 2


def test_the_asynchronous_client_does_the_same(shop):
    async def ask():
        async with shop.async_client() as client:
            shop.change(2)
            await client.recommend({"item_id": ["a"]})
            assert client.signature.bundle_version == 2

    asyncio.run(ask())
    assert shop.reads == 2
