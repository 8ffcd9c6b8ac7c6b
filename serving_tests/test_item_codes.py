"""Models that count items otherwise than Categorify, behind a real Triton: raw ids in, raw ids out."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from item_codes_shop import ITEMS, LAYOUTS, NAMES, SESSIONS, item_codes_shop

from nextitem_client import Client, Recommendation
from nextitem_server import TritonServer

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own
ALL = 100


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[TritonServer, dict]]:
    """The server, and the true scores."""
    folder = tmp_path_factory.mktemp("item_codes")
    truth = item_codes_shop(folder)
    with TritonServer(folder / "model_repository") as server:
        yield server, truth


def agrees(answer: Recommendation, scores: list[float]) -> None:
    assert answer.status == "ok"
    assert list(answer.item_ids) == sorted(range(ITEMS), key=lambda item: -scores[item])
    assert list(answer.scores) == pytest.approx([scores[item] for item in answer.item_ids], abs=1e-4)


def session(items: list) -> dict[str, list]:
    return {"item_id": items, "timestamp": list(range(len(items)))}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("number", range(len(SESSIONS)))
def test_answers_are_offline_prediction_s_by_raw_id(served: tuple, name: str, layout: str, number: int) -> None:
    server, truth = served
    with Client(server.http_url, model=f"{name}_{layout}") as client:
        agrees(client.recommend(session(SESSIONS[number]), k=ALL), truth[name][number])


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", NAMES)
def test_unknown_items_and_filters_go_by_raw_id(served: tuple, name: str, layout: str) -> None:
    server, truth = served
    with Client(server.http_url, model=f"{name}_{layout}") as client:

        def ask(items: list, **filters: object) -> Recommendation:
            return client.recommend(session(items), k=ALL, **filters)

        for unknown in ([ITEMS], [-1], [None], [10**12, -5]):
            assert ask(unknown).status == "cold"
        assert ask([]).status == "empty"
        assert sorted(ask([0, 2, 1], exclude_seen=True).item_ids) == list(range(3, ITEMS))
        assert set(ask([5], allow=[0, 1, 2, 99]).item_ids) == {0, 1, 2}
        assert sorted(ask([5], exclude=[0, 99]).item_ids) == list(range(1, ITEMS))
        if name == "as_is":  # it has no row for what it does not know, and reads the others alone
            agrees(ask([4, 10**6, None, 0]), truth[name][SESSIONS.index([4, 0])])
