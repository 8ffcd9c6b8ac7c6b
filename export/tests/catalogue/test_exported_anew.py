"""A bundle after an update of its catalogue against a real export of the same weights and the new tables.

Training learns over clicked items alone, whatever else the items table lists: with one seed the run that knows a part of the
items and the run that has them all, by `[items] cold_start`, have the same weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from export.tests.support.served import Served
from nextitem_bundle.manifest import read_manifest
from nextitem_export import ExportOptions, export_run, update_catalogue
from nextitem_training import cli as training_cli

CONFIG = """\
[data]
categorical = ["country"]
window = 4
holdout_days = 4

[items]
categorical = ["category"]
multi_hot = ["tags"]
log_continuous = ["price"]
continuous = ["rating"]
vectors = "text"
title = "title"
cold_start = {cold_start}

[model]
body = "gru4rec"
pretraining = "clm"
d_model = 8
layers = 1
heads = 1
normalize = {normalize}

[training]
epochs = 2
seed = 3
"""
NEW = 7


def items() -> pd.DataFrame:
    """Of the shop's thirty items, and of some that nobody clicked; some have no price, no tags or no vector."""
    random = np.random.default_rng(1)
    number = np.arange(30 + NEW)
    return pd.DataFrame(
        {
            "item_id": [f"ø{n}" for n in number],
            "category": [None if n == 4 else f"c{n % 5}" for n in number],
            "tags": [[f"t{t}" for t in random.choice(6, n % 4, replace=False)] for n in number],
            "price": [np.nan if n % 9 == 2 else 1.0 + n for n in number],
            "rating": random.normal(3, 1, len(number)),
            "text": [None if n % 11 == 5 else random.normal(size=3) for n in number],
            "title": [f"item {n}" for n in number],
        }
    )


@pytest.fixture(scope="module", params=[True, pytest.param(False, marks=pytest.mark.slow)], ids=["cosine", "product"])
def runs(request, shop, tmp_path_factory) -> tuple[Path, Path]:
    """The run that knows the clicked items, and the one that has them all."""
    folder = tmp_path_factory.mktemp("trained")
    clicks = shop.interactions(300)[["session_id", "item_id", "timestamp"]]
    clicks["country"] = clicks.session_id % 3
    clicks.to_parquet(folder / "clicks.parquet")
    table = items()
    table[table.item_id.isin(clicks.item_id)].to_parquet(folder / "known.parquet")
    table.to_parquet(folder / "all.parquet")
    made = []
    for name, cold_start in (("known", "false"), ("all", "true")):
        normalize = str(request.param).lower()
        (folder / f"{name}.toml").write_text(CONFIG.format(cold_start=cold_start, normalize=normalize))
        words = ("--data", folder / "clicks.parquet", "--items", folder / f"{name}.parquet")
        words += ("--config", folder / f"{name}.toml", "--output", folder / f"run-{name}")
        assert training_cli.main([*map(str, words)]) == 0
        made.append(folder / f"run-{name}")
    return made[0], made[1]


@pytest.mark.parametrize("layout", ["fused", pytest.param("ensemble", marks=pytest.mark.slow)])
def test_an_updated_bundle_answers_as_one_that_is_exported_anew(runs, tmp_path, layout):
    repository = tmp_path / "repository"
    for run, name in zip(runs, ("updated", "anew"), strict=True):
        export_run(run, repository=repository, name=name, options=ExportOptions(layout=layout))
    table = items()
    table.to_parquet(tmp_path / "items.parquet")
    done = update_catalogue(repository, "updated", tmp_path / "items.parquet")
    added = done.changes.ids(done.changes.added)
    assert {f"ø{n}" for n in range(30, 30 + NEW)} <= set(added)
    assert len(done.changes.changed) == len(done.changes.removed) == 0
    updated, anew = Served(repository, "updated", 2), Served(repository, "anew", 1)
    asked = [
        pd.DataFrame(
            {
                "item_id": np.random.default_rng(number).choice(table.item_id, 5),
                "timestamp": pd.to_datetime(1_600_000_000 + np.arange(5), unit="s"),
                "country": number % 3,
            }
        )
        for number in range(40)
    ]
    asked.append(asked[0].assign(item_id="nobody knows it"))
    answers = [one.ask(asked, k=len(table)) for one in (updated, anew)]
    np.testing.assert_array_equal(answers[0]["status"], answers[1]["status"])
    for one, other in zip(*(rows(answer) for answer in answers), strict=True):
        assert one.keys() == other.keys()
        np.testing.assert_allclose([one[item] for item in other], list(other.values()), atol=1e-4)
        assert list(one)[:5] == list(other)[:5]
    given = [read_manifest(repository, name, version) for name, version in (("updated", 2), ("anew", 1))]
    assert given[0].request == {**given[1].request, "bundle_version": 2}
    assert given[0].catalogue.items == given[1].catalogue.items
    assert given[0].catalogue.attributes == given[1].catalogue.attributes


def rows(answer: dict) -> list[dict[str, float]]:
    """Of each session, the score of each item, best first."""
    pairs = zip(answer["item_ids"].tolist(), answer["scores"].tolist(), strict=True)
    return [{item: score for item, score in zip(*pair, strict=True) if item} for pair in pairs]


def test_a_change_of_content_changes_its_item_alone(runs, tmp_path):
    repository = tmp_path / "repository"
    export_run(runs[1], repository=repository, name="shop", options=ExportOptions(layout="fused"))
    table = items()
    table.loc[3, ["category", "price"]] = "never seen", 500.0
    table.to_parquet(tmp_path / "items.parquet")
    done = update_catalogue(repository, "shop", tmp_path / "items.parquet")
    assert done.changes.ids(done.changes.changed) == ["ø3"]
    assert dict(done.unseen) == {"category": 1}
    asked = [pd.DataFrame({"item_id": ["ø1"], "timestamp": pd.to_datetime([1], unit="s"), "country": [1]})]
    before, after = (rows(Served(repository, "shop", version).ask(asked, k=40))[0] for version in (1, 2))
    moved = {item for item in before if abs(before[item] - after[item]) > 1e-5}
    assert moved == {"ø3"}
