"""The proof of an update: what is asked, and that each kind of fault in a written version is found."""

from __future__ import annotations

import dataclasses
import json
import shutil

import numpy as np
import pandas as pd
import pytest

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_export import CatalogueError, ParityError
from nextitem_export.catalogue import proof
from nextitem_export.catalogue.changes import How, changes_of
from nextitem_export.catalogue.proof import cases_of, prove, read_sessions
from nextitem_export.catalogue.reading import TypedItems
from nextitem_export.catalogue.rewriting import write_version
from nextitem_export.catalogue.stored import StoredCatalogue
from nextitem_export.catalogue.tables import Tables


@pytest.fixture(scope="module")
def stored(bundle) -> StoredCatalogue:
    return StoredCatalogue.open(bundle.repository, "shop")


@pytest.fixture(scope="module")
def changes(stored):
    """Three items new, two removed."""
    import pyarrow as pa

    ids = [*stored.tables.ids[2:], "new 1", "new 2", "new 3"]
    kinds = [f"k{place % 3}" for place in range(len(ids))]
    given = TypedItems(pa.table({"item_id": ids, "kind": kinds}), "item_id", strings=True, max_id_bytes=50)
    return changes_of(stored.tables, given, How(group="kind"), content=False)


@pytest.fixture
def proved(stored, changes, tmp_path):
    """Writes a version of other tables than those that it is proved by; returns how its cases came out."""

    def call(tables: Tables, then=lambda build: None):
        write_version(stored, tables, tmp_path, 2)
        then(tmp_path)
        return prove(stored, changes, tmp_path, 2, stored.sessions(), lambda _: None)

    return call


def test_what_is_asked(stored, changes):
    sessions = stored.sessions()
    cases = {case.name: case for case in cases_of(sessions, changes, stored)}
    assert cases["sessions as they are"].sessions == sessions
    column = stored.signature.item_column
    new = {*changes.ids(changes.added)}
    gone = {*changes.ids(changes.removed)}

    def items(name: str) -> list[set[str]]:
        return [set(session[column]) for session in cases[name].sessions]

    assert all(found & new for found in items("with new and changed items"))
    assert any(found - new for found in items("with new and changed items"))
    assert all(found <= new for found in items("new and changed items alone"))
    assert all(found <= gone for found in items("removed items alone"))
    assert not set().union(*items("nothing known")) & set(changes.tables.ids)
    assert [len(session) for session in cases["no interactions"].sessions] == [0]
    assert [case.name for case in cases.values() if case.filtered] == ["filters"]
    again = cases_of(sessions, changes, stored)
    for one, other in zip(cases.values(), again, strict=True):
        for session, same in zip(one.sessions, other.sessions, strict=True):
            pd.testing.assert_frame_equal(session, same)


def test_a_large_catalogue_is_asked_less(stored, changes, monkeypatch):
    monkeypatch.setattr(proof, "_SCORED", 1)
    monkeypatch.setattr(proof, "_FEWEST", 2)
    assert {len(case.sessions) for case in cases_of(stored.sessions(), changes, stored)} == {1, 2, 3}


def test_a_version_of_its_tables_is_proved(proved, changes):
    found = proved(changes.tables)
    assert len(found) == 8
    assert max(case.score_difference for case in found) < 1e-5
    assert sum(case.sessions for case in found) > 40


def swapped(values: np.ndarray, first: int = 5) -> np.ndarray:
    values = values.copy()
    values[[first, first + 1]] = values[[first + 1, first]]
    return values


FAULTS = {
    "two ids in each other's place": lambda t: dataclasses.replace(t, ids=swapped(t.ids)),
    "the vectors of two items": lambda t: dataclasses.replace(t, id_vectors=swapped(t.id_vectors)),
    "a removed item that is still there": lambda t: dataclasses.replace(t, removed=np.zeros_like(t.removed)),
    "an item that is gone": lambda t: dataclasses.replace(t, removed=t.removed | (np.arange(len(t.removed)) == 7)),
    "a new item without a vector": lambda t: dataclasses.replace(
        t, id_vectors=np.where(np.arange(len(t.id_vectors))[:, None] < len(t.id_vectors) - 1, t.id_vectors, 0)
    ),
    "other counts": lambda t: dataclasses.replace(t, counts=t.counts + 5),
    "a score that is a little off": lambda t: dataclasses.replace(t, id_vectors=t.id_vectors * np.float32(1.001)),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found(proved, changes, fault):
    wrong = FAULTS[fault](changes.tables)
    wrong = dataclasses.replace(wrong, id_vectors=np.asarray(wrong.id_vectors, dtype=np.float32))
    with pytest.raises(ParityError, match="The new version does not answer as its tables say, and was not written"):
        proved(wrong)


def test_a_list_of_what_is_unavailable_that_was_not_taken_along_is_a_fault(proved, changes):
    def hide(build):
        for file in build.rglob("availability.json"):
            file.write_text(json.dumps({"unavailable": changes.tables.ids[3:6].tolist()}), encoding="utf-8")

    with pytest.raises(ParityError, match="The new version does not answer as its tables say"):
        proved(changes.tables, hide)


@pytest.mark.parametrize("kind", ["unavailable", "available"])
def test_the_list_of_the_version_before_counts(bundle, changes, tmp_path, kind):
    shutil.copytree(bundle.repository, tmp_path / "repository")
    for file in (tmp_path / "repository").rglob("availability.json"):
        file.write_text(json.dumps({kind: [*changes.tables.ids[3:6].tolist(), "gone"]}), encoding="utf-8")
    stored = StoredCatalogue.open(tmp_path / "repository", "shop")
    (tmp_path / "build").mkdir()
    write_version(stored, changes.tables, tmp_path / "build", 2)
    assert prove(stored, changes, tmp_path / "build", 2, stored.sessions(), lambda _: None)
    scores, _ = proof.Reference(stored, changes.tables).answers(stored.sessions()[:1])
    listed = (scores[0] > scores.min()).nonzero()[0] - FIRST_ITEM
    assert (set(listed) == {3, 4, 5}) == (kind == "available")


def test_sessions_of_a_file_are_cut_to_what_a_request_may_hold(stored, sample, tmp_path):
    sample.to_parquet(tmp_path / "clicks.parquet")
    found = read_sessions(stored, tmp_path / "clicks.parquet")
    kept = [session for _, session in sample.groupby("session_id", sort=False)]
    assert [session["item_id"].tolist() for session in found] == [session["item_id"].tolist() for session in kept]
    assert found[0].columns.tolist() == [stored.session_column, *stored.signature.feature_names]


def test_sessions_of_csv_are_those_of_parquet(stored, changes, sample, tmp_path):
    sample.to_parquet(tmp_path / "clicks.parquet")
    sample.to_csv(tmp_path / "clicks.csv", index=False)
    columns = [*stored.signature.feature_names]
    read = [read_sessions(stored, tmp_path / f"clicks.{suffix}") for suffix in ("parquet", "csv")]
    for one, other in zip(*read, strict=True):
        pd.testing.assert_frame_equal(one[columns], other[columns], check_dtype=False)
    (tmp_path / "build").mkdir()
    write_version(stored, changes.tables, tmp_path / "build", 2)
    assert prove(stored, changes, tmp_path / "build", 2, read[1], lambda _: None)


@pytest.mark.parametrize(
    ("column", "value", "sentence"),
    [
        ("item_id", 7, "holds int64 in 'item_id', and the bundle is sent text there: write it as text"),
        ("price", "dear", "holds no float in 'price': Unable to parse string"),
        ("timestamp", "once", "holds no datetime in 'timestamp': "),
    ],
)
def test_a_sample_of_other_types_is_refused(stored, sample, tmp_path, column, value, sentence):
    sample.assign(**{column: value}).to_parquet(tmp_path / "clicks.parquet")
    with pytest.raises(CatalogueError) as caught:
        read_sessions(stored, tmp_path / "clicks.parquet")
    assert str(caught.value).startswith(f"{tmp_path / 'clicks.parquet'} {sentence}")


def test_scores_are_those_of_the_tables(stored, changes):
    """The reference itself, item by item: a query and a product."""
    reference = proof.Reference(stored, changes.tables)
    sessions = stored.sessions()[:3]
    scores, status = reference.answers(sessions)
    assert status.tolist() == [0, 0, 0]
    gone = np.flatnonzero(changes.tables.removed) + FIRST_ITEM
    assert (scores[:, gone] == scores.min()).all()
    assert (scores[:, :FIRST_ITEM] == scores.min()).all()
    assert np.isfinite(scores).all()
