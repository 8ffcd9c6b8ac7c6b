"""The catalogue of a version: what is opened, what is refused, and what its graphs give."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pyarrow as pa
import pytest
import torch

from export.tests.catalogue.test_keeping import items_of
from nextitem_bundle.manifest import CatalogueSummary, read_manifest
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_export import CatalogueError
from nextitem_export.catalogue import stored as module
from nextitem_export.catalogue.keeping import write_encoder
from nextitem_export.catalogue.stored import ENCODER, FOLDER, SETTINGS, StoredCatalogue, normalized
from nextitem_export.catalogue.tables import Tables


@pytest.fixture
def repository(bundle, tmp_path):
    """A copy of the exported repository."""
    shutil.copytree(bundle.repository, tmp_path / "repository")
    return tmp_path / "repository"


@pytest.fixture(scope="module")
def stored(bundle) -> StoredCatalogue:
    return StoredCatalogue.open(bundle.repository, "shop")


def test_the_tables_are_those_of_the_export(stored, plan, model):
    tables = stored.tables
    np.testing.assert_array_equal(tables.ids, plan.vocabulary.values)
    np.testing.assert_array_equal(tables.counts, plan.vocabulary.counts)
    np.testing.assert_array_equal(tables.id_vectors, model.items.weight.detach().numpy())
    np.testing.assert_array_equal(tables.log_popularity, plan.log_popularity)
    assert not tables.removed.any()
    assert stored.vectors(tables) is tables.id_vectors or np.array_equal(stored.vectors(tables), tables.id_vectors)


def test_queries_are_those_of_the_eager_model(stored, plan, model):
    random = np.random.default_rng(0)
    count = len(model.items.weight)
    features = {
        "feature__0": random.integers(0, count, (5, 4)),
        "feature__1": random.integers(0, 5, (5, 4)),
        "feature__2": random.normal(size=(5, 4)).astype(np.float32),
    }
    with torch.no_grad():
        due = model.query(dict(zip(model.feature_names, map(torch.from_numpy, features.values()), strict=True))).numpy()
    np.testing.assert_allclose(stored.queries(features, stored.tables.id_vectors), due, atol=1e-6)
    longer = np.concatenate([stored.tables.id_vectors, np.ones((2, 8), np.float32)])
    features["feature__0"][0, 0] = count + 1  # an item that was added reads its own row
    added = stored.queries(features, longer)
    np.testing.assert_allclose(added[1:], due[1:], atol=1e-6)
    assert not np.allclose(added[0], due[0])


def test_kept_sessions_are_those_of_the_sample(stored, sample):
    sessions = stored.sessions()
    assert len(sessions) == sample.session_id.nunique()
    names = [feature.name for feature in stored.signature.features]
    for session, (_, rows) in zip(sessions, sample.groupby("session_id"), strict=True):
        assert session.to_dict("list") == rows[names].to_dict("list")


@pytest.mark.parametrize("batch", [2, 65_536])
def test_vectors_are_what_ids_have_learnt_and_what_attributes_say(repository, monkeypatch, batch):
    monkeypatch.setattr(module, "_BATCH", batch)
    items = items_of("all")
    write_encoder(items, repository / "shop" / "1" / FOLDER / ENCODER)
    count = len(items.rows)
    tables = Tables(
        np.array([f"i{n}" for n in range(count)], dtype=object),
        np.zeros(count, dtype=bool),
        np.ones(count, dtype=np.int64),
        items.id_vectors,
        rows=items.rows,
    )
    opened = dataclasses.replace(StoredCatalogue.open(repository, "shop"), attributes=items.attributes, tables=tables)
    table = items.encoder.content.table().detach().numpy()
    assert not table[:FIRST_ITEM].any()
    np.testing.assert_allclose(opened.vectors(tables), items.id_vectors + table, atol=1e-6)
    assert not np.shares_memory(opened.vectors(tables), tables.id_vectors)
    without = dataclasses.replace(tables, rows=pa.table({"price": pa.nulls(count, pa.float32())}))
    alone = dataclasses.replace(opened, attributes=None)
    np.testing.assert_array_equal(alone.vectors(without), items.id_vectors)


def test_the_table_that_queries_are_compared_with(stored):
    vectors = np.array([[3, 4], [0, 0], [1, 0]], dtype=np.float32)
    bias = np.array([1, 2, 3], dtype=np.float32)
    plain, cosine = (
        dataclasses.replace(stored, settings=dataclasses.replace(stored.settings, normalized=given))
        for given in (False, True)
    )
    assert plain.ranked_table(vectors, None) is vectors
    assert plain.ranked_table(vectors, bias).tolist() == [[3, 4, 1], [0, 0, 2], [1, 0, 3]]
    np.testing.assert_allclose(cosine.ranked_table(vectors, bias), [[0.6, 0.8, 1], [0, 0, 2], [1, 0, 3]], atol=1e-7)


def test_rows_of_length_1_are_those_of_torch():
    rows = np.random.default_rng(0).normal(size=(50, 7)).astype(np.float32)
    rows[3] = 0
    right = torch.nn.functional.normalize(torch.from_numpy(rows), dim=-1).numpy()
    np.testing.assert_allclose(normalized(rows), right, atol=1e-7)


# What is refused.


def test_a_repository_without_the_bundle(tmp_path):
    with pytest.raises(
        CatalogueError, match=f"{tmp_path} holds no bundle 'shop': name a repository and a bundle in it"
    ):
        StoredCatalogue.open(tmp_path, "shop")


def test_a_version_that_is_not_there(repository):
    with pytest.raises(CatalogueError, match="7"):
        StoredCatalogue.open(repository, "shop", 7)


@pytest.mark.parametrize(
    ("summary", "sentence"),
    [
        (None, "it was exported before bundles had a catalogue: export the run again"),
        (CatalogueSummary(refused="it is native: x"), "it is native: x"),
    ],
)
def test_a_version_without_a_catalogue(repository, summary, sentence):
    manifest = read_manifest(repository, "shop", 1)
    dataclasses.replace(manifest, catalogue=summary).write(repository)
    with pytest.raises(CatalogueError) as caught:
        StoredCatalogue.open(repository, "shop")
    assert str(caught.value) == f"version 1 of 'shop' has no catalogue that can be updated: {sentence}"


@pytest.mark.parametrize("change", [{"colour": 1}, {"scoring": None}])
def test_settings_of_another_release(repository, change):
    file = repository / "shop" / "1" / FOLDER / SETTINGS
    document = json.loads(file.read_text()) | change
    file.write_text(json.dumps({name: value for name, value in document.items() if value is not None}))
    with pytest.raises(
        CatalogueError, match=f"has another form, which shows at '{next(iter(change))}'.*Export the bundle again"
    ):
        StoredCatalogue.open(repository, "shop")
