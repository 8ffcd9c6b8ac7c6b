"""Clients in event loops that come and go, in forked processes, and in what is pickled or copied."""

import asyncio
import copy
import gc
import logging
import os
import pickle
import subprocess
import sys
import threading
import warnings

import pytest
from client.tests.support.models import EVENT

from nextitem_client import AsyncClient, Client, ClientClosed
from nextitem_client.testing import fake_async_client, fake_client

# Several event loops.


def test_threads_with_a_loop_each_share_an_async_client(many, protocol, url):
    client = AsyncClient(url(many, protocol), "shop", timeout_s=10)
    answers, errors = [], []

    def ask() -> None:
        async def use() -> None:
            for _ in range(5):
                answers.append((await client.recommend([EVENT])).item_ids)

        try:
            asyncio.run(use())
        except Exception as error:  # noqa: BLE001  any of them is shown
            errors.append(error)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert errors == []
    assert answers == [["a"]] * 30
    asyncio.run(client.close())


# The sockets of a loop that has ended can no longer be closed by it: the garbage collector closes them, and asyncio says so.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_one_loop_after_another(many, protocol, url, caplog):
    client = AsyncClient(url(many, protocol), "shop", timeout_s=10)
    with warnings.catch_warnings(), caplog.at_level(logging.DEBUG, logger="asyncio"):
        warnings.simplefilter("error")
        for _ in range(4):
            assert asyncio.run(client.recommend([EVENT])).item_ids == ["a"]
            assert len(client._ways) == 1  # what belonged to ended loops is let go
        asyncio.run(client.close())
        gc.collect()
    assert [record.message for record in caplog.records if record.levelno >= logging.WARNING] == []
    assert client._ways == {}
    with pytest.raises(ClientClosed):
        asyncio.run(client.recommend([EVENT]))


def test_two_threads_let_go_of_an_ended_loop_at_once():
    client = fake_async_client(["a"])

    class Ended:
        def is_closed(self) -> bool:
            del client._ways[self]  # the other thread, in between
            return True

    client._ways[Ended()] = None
    assert asyncio.run(client.recommend({"item_id": ["b"]})).item_ids == ["a"]


def test_close_reaches_the_connections_of_another_running_loop(many, protocol, url):
    client = AsyncClient(url(many, protocol), "shop", timeout_s=10)
    ready, end = threading.Event(), threading.Event()
    ways = []

    def live() -> None:
        async def use() -> None:
            await client.recommend([EVENT])
            ways.extend(client._ways.values())
            ready.set()
            while not end.is_set():
                await asyncio.sleep(0.01)

        asyncio.run(use())

    thread = threading.Thread(target=live)
    thread.start()
    assert ready.wait(20)
    asyncio.run(client.close())
    with pytest.raises(ClientClosed):
        asyncio.run(client.recommend([EVENT]))
    end.set()
    thread.join(20)
    if protocol == "http":
        assert ways[0].transport._session.closed


# Forks.

BUSY_FORK = """
import os, sys, threading, time, warnings
warnings.simplefilter("ignore")
from nextitem_client import Client
client = Client(sys.argv[1], "slow", pool_size=1, timeout_s=40, retries=0)
event = eval(sys.argv[2])
holder = threading.Thread(target=lambda: client.recommend([event]))
holder.start()
time.sleep(0.3)  # it has the only connection, and the locks of whatever it is at
child = os.fork()
if child == 0:
    answers = [client.recommend([event]).item_ids for _ in range(2)]
    client.close()
    os._exit(0 if answers == [["a"]] * 2 else 1)
holder.join()
assert os.waitpid(child, 0)[1] == 0, "the child"
assert client.recommend([event]).item_ids == ["a"]
client.close()
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows")
def test_a_fork_while_the_pool_is_busy(many):
    command = [sys.executable, "-c", BUSY_FORK, many.http_url, repr(EVENT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stderr


GRPC_FORK = """
import os, sys, warnings
warnings.simplefilter("ignore")
from nextitem_client import Client, NextItemError
client = Client(sys.argv[1], "shop", timeout_s=5)
event = eval(sys.argv[2])
client.recommend([event])
child = os.fork()
if child == 0:
    try:
        os._exit(0 if client.recommend([event]).item_ids == ["a"] else 1)
    except NextItemError as error:
        print(error, flush=True)
        os._exit(7)
status = os.waitpid(child, 0)[1]
assert client.recommend([event]).item_ids == ["a"]
os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 9)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="Windows")
def test_a_fork_with_grpc(many):
    command = [sys.executable, "-c", GRPC_FORK, many.grpc_url, repr(EVENT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, (done.returncode, done.stdout, done.stderr)


# Pickles and copies.


@pytest.mark.parametrize("duplicate", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy, copy.copy])
def test_a_copy_of_a_client_has_connections_of_its_own(many, protocol, url, duplicate):
    with Client(url(many, protocol), "shop", headers={"x-shop": "1"}) as client:
        client.recommend([EVENT])
        with duplicate(client) as other:
            assert other.recommend([EVENT]).item_ids == ["a"]
            assert other.signature == client.signature
            assert other._transport is not client._transport
        assert client.recommend([EVENT]).item_ids == ["a"]


@pytest.mark.parametrize("duplicate", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])
def test_a_copy_of_an_async_client(many, protocol, url, duplicate):
    async def use() -> None:
        async with AsyncClient(url(many, protocol), "shop") as client, duplicate(client) as other:
            assert (await other.recommend([EVENT])).item_ids == ["a"]
            assert (await client.recommend([EVENT])).item_ids == ["a"]

    asyncio.run(use())


def test_a_closed_client_stays_closed_as_a_copy():
    client = fake_client(["a"])
    client.close()
    with pytest.raises(ClientClosed):
        copy.deepcopy(client).recommend({"item_id": ["a"]})


def test_copies_of_fakes():
    assert copy.copy(fake_client(["a"])).recommend({"item_id": ["b"]}).item_ids == ["a"]
    assert asyncio.run(copy.copy(fake_async_client(["a"])).recommend({"item_id": ["b"]})).item_ids == ["a"]
