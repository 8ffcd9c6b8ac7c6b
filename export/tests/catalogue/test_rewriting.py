"""Versions that are written from tables: the same tables give the same files, and other tables what an export of them gives."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from export.tests.support.served import Served
from nextitem_bundle import placing
from nextitem_bundle.checksums import verify
from nextitem_bundle.config import as_version
from nextitem_bundle.manifest import read_manifest
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.steps import read_step
from nextitem_export import Bundle, ExportOptions, activate_bundle, export_bundle
from nextitem_export.catalogue.rewriting import write_version
from nextitem_export.catalogue.stored import FOLDER, StoredCatalogue
from nextitem_export.catalogue.tables import Tables
from nextitem_export.retrieval import blocks
from nextitem_export.workflow import backend_choice
from nextitem_training.items.vocabulary import extend_vocabulary
from nextitem_training.workflow import WorkflowPair

#: How a bundle is exported; those that are searched by faiss or in int8 take longer.
WAYS = {
    "exact": {},
    "fused": {"layout": "fused"},
    "int8-rerank": {"scoring": "int8-rerank"},
    "ann": {"scoring": "ann"},
    "fused-int8-rerank": {"layout": "fused", "scoring": "int8-rerank"},
    "fused-ann": {"layout": "fused", "scoring": "ann"},
}
_SLOW = ("fused-int8-rerank", "fused-ann")
ways = pytest.mark.parametrize(
    "way", [pytest.param(way, marks=pytest.mark.slow) if way in _SLOW else way for way in WAYS]
)
#: A session of one interaction.
ONE = pd.DataFrame({"item_id": ["ø1"], "timestamp": pd.to_datetime([1], unit="s"), "category": [1], "price": [2.0]})
NEW = np.array(["ø-new", "a much longer id than any of the shop's", "ø 3"], dtype=object)


@pytest.fixture(scope="module")
def exported(export_shop, bundle):
    """The shop, exported in one of WAYS once."""
    made: dict[str, Bundle] = {"exact": bundle}

    def of(way: str) -> Bundle:
        if way not in made:
            made[way] = export_shop(**WAYS[way])
        return made[way]

    return of


def keep_back(repository: Path, version: int, *items: str) -> None:
    """Writes the availability list of a version."""
    (file,) = repository.glob(f"*/{version}/**/{AVAILABILITY}")
    file.write_text(json.dumps({"unavailable": items}), encoding="utf-8")


@pytest.fixture
def rewritten(tmp_path):
    """Writes version 2 of a bundle with changed tables beside version 1; returns the repository."""

    def write(bundle: Bundle, change=lambda tables: tables, unavailable: Sequence[str] = ()) -> Path:
        repository = tmp_path / "repository"
        shutil.copytree(bundle.repository, repository)
        keep_back(repository, 1, *unavailable)
        stored = StoredCatalogue.open(repository, bundle.name, 1)
        with placing.build_folder(repository) as build:
            write_version(stored, change(stored.tables), build, 2)
            placing.place(repository, build, stored.models, 2)
        return repository

    return write


def with_new(tables: Tables) -> Tables:
    """With further items, whose vectors are those of others that are a little off."""
    vectors = np.asarray(tables.id_vectors)
    more = vectors[FIRST_ITEM : FIRST_ITEM + len(NEW)] * np.float32(0.9) + np.float32(0.01)
    return dataclasses.replace(
        tables,
        ids=np.append(tables.ids, NEW),
        removed=np.append(tables.removed, np.zeros(len(NEW), dtype=bool)),
        counts=np.append(tables.counts, np.zeros(len(NEW), dtype=np.int64)),
        id_vectors=np.concatenate([vectors, more]),
    )


def files_of(repository: Path, model: str, version: int) -> Iterator[tuple[str, bytes]]:
    """The files of a model's version without what tells the version and the time."""
    folder = repository / model / str(version)
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        content = path.read_bytes()
        if path.name == "step.json":
            document = json.loads(content)
            document.get("signature", {}).pop("bundle_version", None)
            (document.get("catalogue") or {}).pop("created", None)
            content = json.dumps(document).encode()
        elif path.name == "catalogue.json":
            content = json.dumps({**json.loads(content), "created": ""}).encode()
        elif path.name == "config.pbtxt":
            content = as_version(content.decode(), version, 1).encode()
        if path.name != "bundle.json":
            yield str(path.relative_to(folder)), content


@ways
def test_tables_that_have_not_changed_give_the_same_files(exported, rewritten, way):
    repository = rewritten(exported(way))
    for model in read_manifest(repository, "shop", 1).models:
        before, after = (dict(files_of(repository, model, version)) for version in (1, 2))
        assert before.keys() == after.keys()
        assert [name for name in before if before[name] != after[name]] == []


@ways
def test_session_graph_runtime_and_configuration_stay_the_same_files(exported, rewritten, way):
    repository = rewritten(exported(way), with_new)
    same = 0
    for model in read_manifest(repository, "shop", 1).models:
        before, after = (dict(files_of(repository, model, version)) for version in (1, 2))
        for name, content in before.items():
            kept = name.startswith("nextitem_runtime/") or name in ("model.py", "config.pbtxt")
            kept |= name.startswith(f"{FOLDER}/") and name.split("/")[1] in (
                "session.onnx",
                "queries.npy",
                "proof.parquet",
            )
            if kept:
                assert after[name] == content, name
                same += 1
    assert same > 20


@ways
def test_a_version_is_whole(exported, rewritten, way):
    repository = rewritten(exported(way), with_new)
    manifest = read_manifest(repository, "shop", 2)
    verify(repository, manifest, answers=False)
    assert manifest.catalogue is not None
    assert (
        manifest.catalogue.items
        == manifest.catalogue_size
        == len(StoredCatalogue.open(repository, "shop", 2).tables.ids)
    )
    assert [path.name for path in (repository / "shop" / "2" / FOLDER).iterdir()].count("session.onnx") == 1


# Beside an export anew of the same weights, with the longer vocabulary and the longer table.


@pytest.fixture(scope="module")
def anew(shop, frame, model, bundle, sample, tmp_path_factory):
    """Exports the shop with the new items, as a fit that had their ids and an embedding that had their rows would have it."""
    tables = with_new(StoredCatalogue.open(bundle.repository, "shop", 1).tables)
    workflow = shop.fit(frame, tmp_path_factory.mktemp("fitted"))
    extend_vocabulary(WorkflowPair(workflow, workflow), "item_id", NEW, tmp_path_factory.mktemp("longer"))
    whole = shop.TinyModel(tables.cardinality, model.categories.num_embeddings).eval()
    whole.load_state_dict({**model.state_dict(), "items.weight": torch.from_numpy(tables.id_vectors)})

    def export(way: str) -> Bundle:
        return export_bundle(
            whole,
            workflow,
            sample,
            repository=tmp_path_factory.mktemp("anew") / "repository",
            name="shop",
            tie_breaker_column="position",
            options=ExportOptions(**WAYS[way]),
        )

    with shop.asked_once(workflow):
        yield export


@ways
def test_new_items_give_what_an_export_anew_gives(exported, rewritten, anew, sample, way):
    repository, other = rewritten(exported(way), with_new), anew(way)
    updated, fresh = Served(repository, "shop", 2), Served(other.repository, "shop", 1)
    items = [*sample.item_id.unique(), *NEW, "never seen"]
    random = np.random.default_rng(0)
    asked = [session for _, session in sample.groupby("session_id")]
    asked += [session.assign(item_id=random.choice(items, len(session))) for session in asked for _ in range(3)]
    asked += [asked[0].assign(item_id=item) for item in (*NEW, "never seen")]
    barred = np.array([[item.encode() for item in random.choice(items, 3)] for _ in asked], dtype=object)
    for options in ({}, {"exclude_item_ids": barred}, {"allow_item_ids": barred}):
        one, two = (served.ask(asked, k=len(items) + 9, **options) for served in (updated, fresh))
        np.testing.assert_array_equal(one["status"], two["status"])
        np.testing.assert_array_equal(one["item_ids"], two["item_ids"])
        np.testing.assert_allclose(one["scores"], two["scores"], atol=1e-4)


@pytest.mark.parametrize("way", ["exact", "fused"])
def test_the_graphs_are_those_of_an_export_anew(exported, rewritten, anew, way):
    """Byte for byte, but for the files that tell what training had: the kept sessions' queries, and the manifest."""
    repository, other = rewritten(exported(way), with_new), anew(way)
    for model in read_manifest(repository, "shop", 2).models:
        updated, fresh = dict(files_of(repository, model, 2)), dict(files_of(other.repository, model, 1))
        assert updated.keys() == fresh.keys()
        assert {name for name in updated if updated[name] != fresh[name]} <= set()


# Where the size of a catalogue decides how it is served.


@pytest.mark.parametrize("way", ["exact", "int8-rerank"])
def test_a_catalogue_that_is_scanned_in_blocks(export_shop, rewritten, anew, sample, way):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(blocks, "BLOCKS_FROM", 4)
        repository = rewritten(export_shop(**WAYS[way]), with_new)
        other = anew(way)
    files = [sorted(path.name for path in folder.rglob("*.npy")) for folder in (repository / "shop_retrieval" / "2",)]
    assert any(name.startswith("table_") for name in files[0])
    updated, fresh = (
        dict(files_of(place, "shop_retrieval", v)) for place, v in ((repository, 2), (other.repository, 1))
    )
    assert [name for name in fresh if updated[name] != fresh[name]] == []
    asked = [session for _, session in sample.groupby("session_id")]
    answer = Served(repository, "shop", 2).ask(asked, k=100)
    assert set(NEW) <= set(answer["item_ids"][0])


@pytest.fixture
def limit(monkeypatch):
    """Lets the compiled workflow be a graph up to so many items."""
    return lambda count: monkeypatch.setattr(backend_choice, "STRING_KEYS_LIMIT", count)


def of_version(repository: Path, version: int, sample: pd.DataFrame) -> dict[str, np.ndarray]:
    return Served(repository, "shop", version).ask([sample[sample.session_id == 0]], k=100)


@pytest.mark.parametrize("way", ["exact", "fused"])
def test_a_vocabulary_that_outgrows_the_graph(exported, rewritten, limit, sample, way):
    """The version before is a graph, and the new one runs the numpy program; the availability list goes along."""
    bundle = exported(way)
    kept_back = StoredCatalogue.open(bundle.repository, "shop", 1).tables.ids[0]
    limit(len(StoredCatalogue.open(bundle.repository, "shop", 1).tables.ids))
    repository = rewritten(bundle, with_new, unavailable=[kept_back])
    step = repository / "shop" / "2" / "features" if way == "fused" else repository / "shop_features" / "2"
    assert (step / "program").is_dir()
    assert kept_back not in of_version(repository, 2, sample)["item_ids"]
    assert set(NEW) <= set(of_version(repository, 2, sample)["item_ids"][0])
    keep_back(repository, 1, "ø2")
    activate_bundle(repository, "shop")
    assert "ø2" not in of_version(repository, 2, sample)["item_ids"]
    assert kept_back in of_version(repository, 2, sample)["item_ids"]


def test_a_list_that_was_given_at_the_export_is_no_more_the_versions_own(export_shop, rewritten, tmp_path, sample):
    (tmp_path / "list.json").write_text(json.dumps({"unavailable": ["ø1"]}), encoding="utf-8")
    repository = rewritten(export_shop(availability=str(tmp_path / "list.json")), with_new, unavailable=["ø1"])
    assert read_manifest(repository, "shop", 1).availability_given
    assert "ø1" not in of_version(repository, 2, sample)["item_ids"]
    keep_back(repository, 1)
    activate_bundle(repository, "shop")
    assert "ø1" in of_version(repository, 2, sample)["item_ids"]  # since then nothing is kept back


def test_a_vocabulary_that_fits_the_graph_again(export_shop, rewritten, limit, sample):
    """A fused model whose features were a program becomes one graph, with the availability list beside it."""
    limit(5)
    bundle = export_shop(layout="fused")
    assert (bundle.repository / "shop" / "1" / "features").is_dir()
    kept_back = StoredCatalogue.open(bundle.repository, "shop", 1).tables.ids[0]
    limit(1_000)
    repository = rewritten(bundle, with_new, unavailable=[kept_back])
    assert not (repository / "shop" / "2" / "features").exists()
    assert kept_back not in of_version(repository, 2, sample)["item_ids"]
    assert set(NEW) <= set(of_version(repository, 2, sample)["item_ids"][0])


# What an approximate scoring finds is measured anew.


def without_most(tables: Tables) -> Tables:
    """Without the items of the highest vectors, which many sessions would get."""
    lengths = np.linalg.norm(tables.id_vectors[FIRST_ITEM:], axis=1)
    return dataclasses.replace(tables, removed=lengths >= np.median(lengths))


@pytest.mark.parametrize("way", ["int8-rerank", "ann"])
def test_removed_items_are_not_missed(exported, rewritten, way):
    repository = rewritten(exported(way), without_most)
    assert read_step(repository / "shop_retrieval" / "2").recall_at_20 == 1


@pytest.mark.parametrize("scoring", ["int8-rerank", "ann"])
def test_without_kept_sessions_the_kept_queries_tell(export_shop, rewritten, scoring):
    repository = rewritten(export_shop(scoring=scoring, keep_proof=0), with_new)
    assert not list(repository.rglob("proof.parquet"))
    assert read_step(repository / "shop_retrieval" / "2").recall_at_20 == 1
    assert set(NEW) <= set(Served(repository, "shop", 2).ask([ONE], k=100)["item_ids"][0])


def test_items_join_the_lists_of_the_index(exported, rewritten):
    faiss = pytest.importorskip("faiss")

    def changed(tables: Tables) -> Tables:
        tables = with_new(tables)
        vectors = tables.id_vectors.copy()
        vectors[FIRST_ITEM] = -vectors[FIRST_ITEM]
        return dataclasses.replace(tables, id_vectors=vectors)

    repository = rewritten(exported("ann"), changed)
    before, after = (
        faiss.read_index(str(repository / "shop_retrieval" / str(version) / "index.faiss")) for version in (1, 2)
    )
    assert after.ntotal == before.ntotal + len(NEW)
    centroids = [faiss.downcast_index(index.quantizer).reconstruct_n(0, index.nlist) for index in (before, after)]
    np.testing.assert_array_equal(*centroids)
    table = StoredCatalogue.open(repository, "shop", 2).tables.id_vectors
    for code in (FIRST_ITEM, FIRST_ITEM + 1, len(table) - 1):
        _, found = after.search(table[code][None], after.ntotal)
        assert (found[0] == code).sum() == 1
        assert found[0, 0] in np.argsort(-(table @ table[code]))[:3]


@pytest.mark.parametrize("links", [True, False])
def test_what_did_not_change_is_linked_or_else_copied(exported, rewritten, monkeypatch, links):
    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    if not links:
        monkeypatch.setattr("nextitem_export.catalogue.rewriting.os.link", refused)
    repository = rewritten(exported("exact"), without_most)
    before, after = (repository / "shop" / str(version) / FOLDER for version in (1, 2))
    for name in ("session.onnx", "queries.npy", "proof.parquet", "id_vectors.npy"):
        assert (after / name).read_bytes() == (before / name).read_bytes()
    assert (after / "ids.parquet").read_bytes() != (before / "ids.parquet").read_bytes()
