"""Models that count items otherwise than Categorify, behind a real Triton: raw ids in, raw ids out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import pytest

from nextitem_client import Client, Recommendation
from nextitem_server import TritonServer
from serving_tests.support.made.cache import Made
from serving_tests.support.made.item_codes_shop import ITEMS, LAYOUTS, NAMES, SESSIONS, reference
from serving_tests.support.processes import running_triton

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own
ALL = 100


@dataclasses.dataclass(frozen=True)
class Running:
    """The server, and for each name and session the true scores by raw id."""

    server: TritonServer
    reference: dict[str, list[list[float]]]


@pytest.fixture(scope="module")
def running(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    folder = made.repository("item_codes", tmp_path_factory.mktemp("item_codes") / "copy")
    with running_triton(folder / "model_repository") as server:
        yield Running(server, reference(folder))


def agrees(answer: Recommendation, scores: list[float]) -> None:
    assert answer.status == "ok"
    assert list(answer.item_ids) == sorted(range(ITEMS), key=lambda item: -scores[item])
    assert list(answer.scores) == pytest.approx([scores[item] for item in answer.item_ids], abs=1e-4)


def session(items: list) -> dict[str, list]:
    return {"item_id": items, "timestamp": list(range(len(items)))}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_answers_are_offline_prediction_s_by_raw_id(running: Running, name: str, layout: str, number: int) -> None:
    with Client(running.server.http_url, model=f"{name}_{layout}") as client:
        agrees(client.recommend(session(SESSIONS[number]), k=ALL), running.reference[name][number])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_unknown_items_and_filters_go_by_raw_id(running: Running, name: str, layout: str) -> None:
    with Client(running.server.http_url, model=f"{name}_{layout}") as client:

        def ask(items: list, **filters: object) -> Recommendation:
            return client.recommend(session(items), k=ALL, **filters)

        for unknown in ([ITEMS], [-1], [None], [10**12, -5]):
            assert ask(unknown).status == "cold"
        assert ask([]).status == "empty"
        assert sorted(ask([0, 2, 1], exclude_seen=True).item_ids) == list(range(3, ITEMS))
        assert set(ask([5], allow=[0, 1, 2, 99]).item_ids) == {0, 1, 2}
        assert sorted(ask([5], exclude=[0, 99]).item_ids) == list(range(1, ITEMS))
        if name == "as_is":  # it has no row for what it does not know, and reads the others alone
            agrees(ask([4, 10**6, None, 0]), running.reference[name][SESSIONS.index([4, 0])])
