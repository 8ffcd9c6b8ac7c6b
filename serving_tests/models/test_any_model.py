"""docs/any-model.md as it is printed: three models that were not trained here, exported and asked."""

from __future__ import annotations

from pathlib import Path

import pytest

from nextitem_client import Client
from serving_tests.support.made.cache import Made
from serving_tests.support.processes import running_triton

NAMES = ("by_query", "with_heads", "by_scores")


@pytest.fixture(scope="module")
def exported(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the page's code exports."""
    return made.repository("any_model", tmp_path_factory.mktemp("any_model") / "copy") / "model_repository"


def test_the_page_exports_three_models_that_triton_serves(exported: Path) -> None:
    assert sorted(set(NAMES)) == sorted(
        path.name for path in exported.iterdir() if (path / "1" / "bundle.json").exists()
    )
    session = {
        "item_id": ["A13", "A16"],
        "timestamp": ["2008-08-10T10:00:00", "2008-08-10T10:00:40"],
        "category": ["trousers", "trousers"],
        "price": [28.0, 33.0],
    }
    with running_triton(exported) as server:
        for name in NAMES:
            with Client(server.http_url, model=name) as client:
                needed = {feature.name for feature in client.signature.features}
                answer = client.recommend({key: session[key] for key in needed}, k=5)
            assert answer.status == "ok"
            assert len(set(answer.item_ids)) == 5
            assert list(answer.heads) == (["is_buy", "next_category"] if name == "with_heads" else [])
            if answer.heads:
                (buy,) = answer.heads["is_buy"]
                assert 0 < buy < 1
                assert sum(answer.heads["next_category"]) == pytest.approx(1, abs=1e-5)
