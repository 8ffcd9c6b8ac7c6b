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
from serving_tests.support.processes import eventually, processes_of

REQUESTS_PER_S = 100
ASKED_S = float(os.environ.get("NEXTITEM_ASKED_S", "6"))
KILLED_AFTER_S = 1.0
BACK_WITHIN_S = 5.0


@pytest.fixture(scope="module")
def mortal(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    """A Triton of its own, whose processes may be killed."""
    copy = tmp_path_factory.mktemp("mortal") / "model_repository"
    for name in ("shop", "shop_fused"):
        copied(repository / name, copy)
    with TritonServer(copy) as running:
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
    """Ask at a fixed rate, each call in a thread of its own, whatever the others wait for."""

    def __init__(self, client: Client, session: dict[str, list]) -> None:
        self._client, self._session = client, session
        self._right = client.recommend(session).item_ids
        self.answered: list[tuple[float, float]] = []  # when asked, how long it took
        self.failed: list[str] = []
        self.wrong = 0

    def ask_for(self, seconds: float) -> None:
        threads: list[threading.Thread] = []
        began = time.monotonic()
        for number in range(int(seconds * REQUESTS_PER_S)):
            time.sleep(max(0.0, began + number / REQUESTS_PER_S - time.monotonic()))
            threads.append(threading.Thread(target=self._ask))
            threads[-1].start()
        for thread in threads:
            thread.join()

    def _ask(self) -> None:
        began = time.monotonic()
        try:
            right = self._client.recommend(self._session).item_ids == self._right
        except ServerError as error:
            self.failed.append(f"{type(error).__name__}: {error}")
            return
        self.answered.append((began, time.monotonic() - began))
        self.wrong += not right


def killed_under_load(server, session, model, protocol, kill) -> None:
    """`kill` a process of the model while its bundle is asked, and check what callers notice."""
    before = restarts(server, model)
    victims = processes_of(server, model)
    bundle = "shop_fused" if "fused" in model else "shop"
    with Client(getattr(server, f"{protocol}_url"), model=bundle) as client:
        callers = Callers(client, session)
        timer = threading.Timer(KILLED_AFTER_S, kill, [victims[-1]])
        timer.start()
        callers.ask_for(ASKED_S)
        timer.join()
        now = processes_of(server, model)
    assert victims[-1] not in now
    assert len(now) >= len(victims)
    assert callers.wrong == 0
    assert len(callers.failed) <= 0.01 * ASKED_S * REQUESTS_PER_S, (len(callers.failed), set(callers.failed))
    longest = max(took for _, took in callers.answered)
    print(f"{model}: {len(callers.answered)} answered, {len(callers.failed)} failed, the slowest took {longest:.2f} s")
    assert longest < BACK_WITHIN_S
    assert eventually(lambda: restarts(server, model) == before + 1, 5)
    told = list(server.notices)
    assert any(f"starting {model} anew" in line for line in told)
    assert any(line.startswith(f"{model} answers again after") for line in told)


@pytest.mark.beside_the_server
@pytest.mark.parametrize("protocol", ["http", "grpc"])
@pytest.mark.parametrize("model", ["shop_features", "shop_ranker", "shop_items", "shop_fused"])
def test_a_killed_process_is_replaced_while_requests_come(mortal, asked_shop, model, protocol):
    killed_under_load(mortal, asked_shop, model, protocol, lambda number: os.kill(number, signal.SIGKILL))
