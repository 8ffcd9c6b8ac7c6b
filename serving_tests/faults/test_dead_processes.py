"""A process of a model is killed while a hundred requests a second come: they are answered, and another takes its place."""

from __future__ import annotations

import os
import re
import signal
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from nextitem_client import Client, ServerError
from nextitem_server import TritonServer
from serving_tests.support.bundles import copied
from serving_tests.support.processes import eventually, processes_of, running_triton

#: What they measure another test beside them would change.
#: Steps that are watched as the features step is.
OTHERS = ("shop_retrieval", "shop_items")

pytestmark = [pytest.mark.beside_the_server, pytest.mark.alone]

REQUESTS_PER_S = 100
ASKED_S = float(os.environ.get("NEXTITEM_ASKED_S", "4"))
KILLED_AFTER_S = 1.0
BACK_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def mortal(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton of its own, whose processes may be killed."""
    copy = tmp_path_factory.mktemp("mortal") / "model_repository"
    for name in ("shop", "shop_fused"):
        copied(repository / name, copy)
    with running_triton(copy) as running:
        yield running


def restarts(server: TritonServer, model: str) -> float:
    """What the metrics say."""
    with urllib.request.urlopen(server.metrics_url, timeout=10) as page:
        match = re.search(
            rf'^nextitem_restarts_total{{model="{model}",version="1"}} (\S+)$', page.read().decode(), re.M
        )
    assert match, "no such series"
    return float(match[1])


class Callers:
    """Ask at a fixed rate over each protocol in turn, each call in a thread of its own, whatever the others wait for."""

    def __init__(self, clients: list[Client], session: dict[str, list]) -> None:
        self._clients, self._session = clients, session
        self._right = clients[0].recommend(session).item_ids
        self.answered: list[list[float]] = [[] for _ in clients]  # how long each took, by client
        self.failed: list[list[str]] = [[] for _ in clients]
        self.wrong = 0

    def ask_for(self, seconds: float) -> None:
        threads: list[threading.Thread] = []
        began = time.monotonic()
        for number in range(int(seconds * REQUESTS_PER_S)):
            time.sleep(max(0.0, began + number / REQUESTS_PER_S - time.monotonic()))
            threads.append(threading.Thread(target=self._ask, args=(number % len(self._clients),)))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _ask(self, which: int) -> None:
        began = time.monotonic()
        try:
            right = self._clients[which].recommend(self._session).item_ids == self._right
        except ServerError as error:
            self.failed[which].append(f"{type(error).__name__}: {error}")
            return
        self.answered[which].append(time.monotonic() - began)
        self.wrong += not right


@pytest.mark.parametrize(
    "model", ["shop_features", *(pytest.param(name, marks=pytest.mark.slow) for name in OTHERS), "shop_fused"]
)
def test_a_killed_process_is_replaced_while_requests_come_over_both_protocols(mortal, asked_shop, model):
    before = restarts(mortal, model)
    victims = processes_of(mortal, model)
    bundle = "shop_fused" if "fused" in model else "shop"
    with Client(mortal.http_url, bundle) as http, Client(mortal.grpc_url, bundle) as grpc:
        callers = Callers([http, grpc], asked_shop)
        timer = threading.Timer(KILLED_AFTER_S, os.kill, [victims[-1], signal.SIGKILL])
        timer.start()
        callers.ask_for(ASKED_S)
        timer.join()
        now = processes_of(mortal, model)
    assert victims[-1] not in now
    assert len(now) >= len(victims)
    assert callers.wrong == 0
    for answered, failed in zip(callers.answered, callers.failed, strict=True):
        assert len(failed) <= 0.01 * ASKED_S * REQUESTS_PER_S / 2, (len(failed), set(failed))
        print(f"{model}: {len(answered)} answered, {len(failed)} failed, the slowest took {max(answered):.2f} s")
        assert max(answered) < BACK_WITHIN_S
    assert eventually(lambda: restarts(mortal, model) == before + 1, 5)
    told = list(mortal.notices)
    assert any(f"starting {model} anew" in line for line in told)
    assert any(line.startswith(f"{model} answers again after") for line in told)
