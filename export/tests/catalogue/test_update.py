"""Updates of exported bundles: what they write, what the new version answers, and what is refused."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from export.tests.support.served import Served
from nextitem_bundle.checksums import verify
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.versions import active_version
from nextitem_export import CatalogueError, ParityError, RepositoryError, activate_bundle, update_catalogue
from nextitem_export.catalogue import cli, update
from nextitem_export.workflow import backend_choice

#: The shop's items and the groups that its new ones start from.
KIND = "kind"


def items_of(ids, **changes: str) -> pd.DataFrame:
    """The whole table of the shop: an item's kind is the number in its id, by five."""
    return pd.DataFrame({"item_id": ids, KIND: [changes.get(item, f"k{int(item[1:]) % 5}") for item in ids]})


@pytest.fixture(scope="module", params=["ensemble", "fused"])
def exported(request, export_shop, bundle):
    return bundle if request.param == "ensemble" else export_shop(layout="fused")


@pytest.fixture
def repository(exported, tmp_path):
    """A copy of the exported repository."""
    shutil.copytree(exported.repository, tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture(scope="module")
def known(workflow) -> list[str]:
    """The ids of the shop, by code."""
    from nextitem_export.workflow.fitted import FittedWorkflow

    return FittedWorkflow(workflow).vocabulary("item_id-list").values.tolist()


@pytest.fixture
def updated(repository, tmp_path):
    """Updates the shop with a table; returns what update_catalogue does."""

    def call(table: pd.DataFrame, **options):
        table.to_parquet(tmp_path / "items.parquet")
        return update_catalogue(repository, "shop", tmp_path / "items.parquet", **{"group": KIND, **options})

    return call


def sessions_of(sample: pd.DataFrame, *items: str) -> list[pd.DataFrame]:
    """The sample's first session, with each of these items in all of its interactions."""
    session = sample[sample.session_id == sample.session_id.iloc[0]]
    return [session.assign(item_id=item) for item in items]


def test_an_item_is_added_and_an_item_is_removed(repository, known, updated, sample):
    done = updated(items_of([*known[1:], "ø99"]))
    assert (done.base, done.version, done.active, done.items) == (1, 2, 1, len(known))
    assert done.changes.ids(done.changes.added) == ["ø99"]
    assert done.changes.ids(done.changes.removed) == [known[0]]
    manifest = read_manifest(repository, "shop", 2)
    verify(repository, manifest, answers=False)
    assert (manifest.catalogue.items, manifest.catalogue.removed) == (len(known), 1)
    assert [case["case"] for case in manifest.parity] == [case.case for case in done.proof]
    assert active_version(repository, "shop") == 1
    before, after = (Served(repository, "shop", version) for version in (1, 2))
    asked = sessions_of(sample, "ø99", known[0])
    assert before.ask(asked)["status"].ravel().tolist() == ["cold", "ok"]
    answer = after.ask(asked, k=len(known))
    assert answer["status"].ravel().tolist() == ["ok", "cold"]
    assert set(answer["item_ids"].ravel()) == {*known[1:], "ø99"}
    assert known[0] in before.ask(asked, k=len(known))["item_ids"]


def test_items_that_stay_answer_as_before(repository, known, updated, sample):
    updated(items_of([*known, "ø99"]))
    before, after = (Served(repository, "shop", version) for version in (1, 2))
    asked = [session for _, session in sample.groupby("session_id")]
    old, new = before.ask(asked, k=8), after.ask(asked, k=9)
    for row in range(len(asked)):
        kept = new["item_ids"][row] != "ø99"
        assert new["item_ids"][row][kept][:8].tolist() == old["item_ids"][row].tolist()
        np.testing.assert_allclose(new["scores"][row][kept][:8], old["scores"][row], atol=1e-5)


def test_a_removed_item_counts_as_unknown_in_filters(repository, known, updated, sample):
    updated(items_of(known[1:]))
    after = Served(repository, "shop", 2)
    asked = sessions_of(sample, known[1])
    ids = np.array([[item.encode() for item in known[:3]]], dtype=object)
    assert set(after.ask(asked, allow_item_ids=ids)["item_ids"][0]) == {*known[1:3], ""}
    assert not set(known[:3]) & set(after.ask(asked, k=len(known), exclude_item_ids=ids)["item_ids"][0])


def test_an_update_of_an_update_and_an_item_that_comes_back(repository, known, updated, sample):
    updated(items_of([*known[1:], "ø98"]))
    activate_bundle(repository, "shop", keep_versions=9)
    done = updated(items_of([known[0], "ø97"]), partial=True)
    assert (done.base, done.version) == (2, 3)
    assert done.changes.ids(done.changes.returned) == [known[0]]
    asked = sessions_of(sample, known[0], "ø98", "ø97")
    answer = Served(repository, "shop", 3).ask(asked)
    assert answer["status"].ravel().tolist() == ["ok"] * 3
    first = Served(repository, "shop", 1).ask(asked[:1], k=3)
    again = Served(repository, "shop", 3).ask(asked[:1], k=8)
    old = [item for item in again["item_ids"][0] if item in known][:3]
    assert old == first["item_ids"][0].tolist()


def test_another_version_than_the_one_that_answers_is_updated(repository, known, updated):
    updated(items_of([*known, "ø98"]))
    done = updated(items_of(["ø97"]), partial=True, version=2)
    assert (done.base, done.version, done.items) == (2, 3, len(known) + 2)
    with pytest.raises(RepositoryError, match="has no version 7, there are 1, 2, 3"):
        updated(items_of(["ø97"]), partial=True, version=7)


def test_the_availability_list_goes_along(repository, known, updated):
    for file in repository.rglob("availability.json"):
        file.write_text(json.dumps({"unavailable": known[:2]}), encoding="utf-8")
    updated(items_of([*known, "ø99"]))
    written = [file for file in repository.rglob("availability.json") if "2" in file.parts]
    assert [json.loads(file.read_text(encoding="utf-8")) for file in written] == [{"unavailable": known[:2]}]


def test_what_changes_nothing_and_what_is_only_tried_write_nothing(repository, known, updated, shop):
    before = shop.snapshot(repository)
    done = updated(items_of(known), group=None)
    assert (done.version, done.changes.none) == (None, True)
    tried = updated(items_of([*known, "ø99"]), dry_run=True)
    assert (tried.version, len(tried.changes.added)) == (None, 1)
    assert shop.snapshot(repository) == before


@pytest.mark.parametrize(
    ("table", "options", "error", "sentence"),
    [
        ({"item_id": ["ø1", "ø1"]}, {}, CatalogueError, "the item 'ø1' stands in row 1 and in row 2"),
        (
            {"item_id": [1, 2]},
            {},
            CatalogueError,
            "the ids in 'item_id' are int64, and those of the catalogue are text",
        ),
        ({"sku": ["a"]}, {}, CatalogueError, "the table has no column 'item_id' with the items' ids, it has sku"),
        ({"item_id": []}, {}, CatalogueError, "holds no items: give a table with one row for each item"),
        ({"item_id": ["a"]}, {"partial": True}, CatalogueError, "the table has no column 'kind' to group items by"),
        (
            {"item_id": ["a"]},
            {"partial": True, "group": None},
            CatalogueError,
            "the model knows items by their ids alone",
        ),
        ({"item_id": ["ø1"], "kind": ["x"]}, {}, CatalogueError, "which would be removed: give the whole table, or"),
    ],
)
def test_a_mistake_is_told_and_changes_nothing(repository, updated, shop, table, options, error, sentence):
    before = shop.snapshot(repository)
    with pytest.raises(error) as caught:
        updated(pd.DataFrame(table), **options)
    assert sentence in str(caught.value)
    assert shop.snapshot(repository) == before
    assert [path.name for path in repository.parent.iterdir() if path.is_dir()] == ["repository"]


def test_a_file_that_was_changed_is_noticed(repository, known, updated):
    manifest = read_manifest(repository, "shop", 1)
    file = next(name for name in manifest.sha256 if "/catalogue/" in name)
    (repository / file).write_bytes(b"other")
    with pytest.raises(RepositoryError, match="is not the file that was exported"):
        updated(items_of([*known, "ø99"]))


@pytest.mark.parametrize(
    "options",
    [{"runtime": "native"}, {"format": "torchscript"}, {"features": "nvtabular"}],
    ids=["native", "torchscript", "nvtabular"],
)
def test_a_bundle_without_a_catalogue_says_why(export_shop, sample, tmp_path, options):
    made = export_shop(sample[sample.session_id < 3], **options)
    items_of(["ø99"]).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(CatalogueError) as caught:
        update_catalogue(made.repository, "shop", tmp_path / "items.parquet", partial=True, group=KIND)
    assert str(caught.value).startswith("version 1 of 'shop' has no catalogue that can be updated: ")
    assert read_manifest(made.repository, "shop", 1).catalogue.refused in str(caught.value)


def test_a_version_that_cannot_be_proved_is_not_written(repository, known, updated, shop, monkeypatch):
    write = update.write_version

    def with_other_ids(stored, tables, build, version, *more):
        ids = tables.ids.copy()
        ids[[0, 1]] = ids[[1, 0]]
        import dataclasses

        return write(stored, dataclasses.replace(tables, ids=ids), build, version, *more)

    monkeypatch.setattr(update, "write_version", with_other_ids)
    before = shop.snapshot(repository)
    with pytest.raises(ParityError, match="The new version does not answer as its tables say, and was not written"):
        updated(items_of([*known, "ø99"]))
    assert shop.snapshot(repository) == before


def test_without_kept_sessions_a_sample_is_needed(export_shop, known, sample, tmp_path):
    made = export_shop(keep_proof=0, layout="fused")
    items_of([*known, "ø99"]).to_parquet(tmp_path / "items.parquet")
    place = (made.repository, "shop", tmp_path / "items.parquet")
    with pytest.raises(CatalogueError, match="the export kept no sessions to prove a new version by"):
        update_catalogue(*place, group=KIND)
    sample.to_parquet(tmp_path / "clicks.parquet")
    assert update_catalogue(*place, group=KIND, sample=tmp_path / "clicks.parquet").version == 2
    sample.drop(columns="price").to_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(CatalogueError, match=r"lacks the column\(s\) price of interactions"):
        update_catalogue(*place, group=KIND, sample=tmp_path / "clicks.parquet", version=1)


def test_the_command(repository, known, tmp_path, capsys, own_process):
    place = ["--repository", str(repository), "--name", "shop"]
    items_of([*known[1:], "ø99"]).to_csv(tmp_path / "items.csv", index=False)
    words = ["update", str(tmp_path / "items.csv"), *place, "--group", KIND]
    assert cli.main([*words, "--dry-run"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"1 added, 1 removed; {len(known)} items in all",
        "  added: ø99",
        f"  removed: {known[0]}",
    ]
    assert cli.main([*words, "--activate", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["version"], found["added"], found["removed"]) == (2, ["ø99"], [known[0]])
    assert found["activation"] == {"name": "shop", "version": 2, "before": 1, "pruned": []}
    assert found["proof"][0]["sessions"] > 0
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    assert said == f"nothing has changed: version 2 of 'shop' has these {len(known)} items already\n"
    assert cli.main(["show", *place, "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert {**shown, "created": ""} == {
        "name": "shop", "version": 2, "active": 2, "items": len(known), "removed": 1, "unavailable": 0,
        "attributes": [], "created": "", "refused": None,
    }  # fmt: skip
    assert cli.main(["show", *place]) == 0
    assert "whose codes stay" in capsys.readouterr().out


def test_a_vocabulary_that_outgrows_the_graph_takes_the_availability_along(
    repository, known, updated, sample, monkeypatch
):
    """A merged graph becomes steps beside each other, where the list lies in another folder."""
    monkeypatch.setattr(backend_choice, "STRING_KEYS_LIMIT", len(known))
    (listed,) = repository.rglob(AVAILABILITY)
    listed.write_text(json.dumps({"unavailable": [known[0]]}), encoding="utf-8")
    assert updated(items_of([*known, "ø99"])).version == 2
    listed.write_text(json.dumps({"unavailable": [known[1]]}), encoding="utf-8")
    activate_bundle(repository, "shop")
    answer = Served(repository, "shop", 2).ask(sessions_of(sample, known[2]), k=len(known) + 1)
    assert set(answer["item_ids"][0]) - {""} == {known[0], *known[2:], "ø99"}
