"""The raw tables of a catalogue: what is saved comes back, and what is derived from them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa
import pytest

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32, NULL_INT64
from nextitem_export.catalogue.tables import Tables

STRINGS = np.array(["ø", "b", "日本"], dtype=object)
INTEGERS = np.array([2**60 + 1, -3, 7])


def tables_of(ids: np.ndarray = STRINGS, **changes) -> Tables:
    given = {
        "removed": np.array([False, True, False]),
        "counts": np.array([6, 2, 0]),
        "id_vectors": np.arange(12, dtype=np.float32).reshape(6, 2),
    }
    return Tables(ids, **{**given, **changes})


@pytest.mark.parametrize("ids", [STRINGS, INTEGERS], ids=["strings", "integers"])
def test_what_is_saved_is_loaded(tmp_path, ids):
    rows = pa.table({"tags": [["a", None], [], None], "price": pa.array([1.5, None, 2], pa.float32())})
    tables = tables_of(ids, bias=np.ones(6, np.float32), rows=rows)
    tables.save(tmp_path)
    again = Tables.load(tmp_path)
    for field in ("ids", "removed", "counts", "id_vectors", "bias"):
        before, after = getattr(tables, field), getattr(again, field)
        assert after.dtype == before.dtype
        np.testing.assert_array_equal(after, before)
    assert again.rows.equals(rows)


def test_what_is_absent_stays_absent(tmp_path):
    tables_of().save(tmp_path)
    again = Tables.load(tmp_path)
    assert again.bias is None
    assert again.rows is None


def test_vectors_are_mapped_and_not_read(tmp_path):
    tables_of().save(tmp_path)
    assert isinstance(Tables.load(tmp_path).id_vectors, np.memmap)


def test_tables_are_the_same_bytes_each_time(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        tables_of(rows=pa.table({"price": [1.0, 2.0, 3.0]})).save(tmp_path / name)
    one, other = (sorted((tmp_path / name).iterdir()) for name in ("one", "other"))
    assert [file.read_bytes() for file in one] == [file.read_bytes() for file in other]


def test_removed_items_have_no_served_id():
    assert tables_of().served_ids.tolist() == ["ø", "", "日本"]
    assert tables_of(INTEGERS).served_ids.tolist() == [2**60 + 1, NULL_INT64, 7]
    assert tables_of().served_ids.dtype == object


def test_the_special_codes_come_before_the_items():
    tables = tables_of()
    assert tables.cardinality == FIRST_ITEM + 3
    popularity = tables.log_popularity
    assert popularity.dtype == np.float32
    assert popularity[:FIRST_ITEM].tolist() == [np.float32(LOWEST_FLOAT32)] * FIRST_ITEM


def test_an_item_that_training_never_saw_counts_half_an_interaction():
    np.testing.assert_allclose(np.exp(tables_of().log_popularity[FIRST_ITEM:]), np.array([6, 2, 0.5]) / 8.5, rtol=1e-6)
    more = dataclasses.replace(tables_of(), counts=np.array([6, 2, 1]))
    np.testing.assert_allclose(np.exp(more.log_popularity[FIRST_ITEM:]), np.array([6, 2, 1]) / 9, rtol=1e-6)


def test_files_that_have_not_changed_need_not_be_written(tmp_path):
    rows = pa.table({"price": [1.0, None, 3.0]})
    before = tables_of(bias=np.ones(6, np.float32), rows=rows)
    before.save(tmp_path)
    after = dataclasses.replace(Tables.load(tmp_path), removed=np.ones(3, dtype=bool))
    assert after.same_files(before) == ("id_vectors.npy", "bias.npy", "rows.parquet")
    (tmp_path / "next").mkdir()
    after.save(tmp_path / "next", after.same_files(before))
    assert [path.name for path in (tmp_path / "next").iterdir()] == ["ids.parquet"]
    other = dataclasses.replace(before, id_vectors=before.id_vectors + 1, rows=rows.slice(1))
    assert other.same_files(before) == ("bias.npy",)
    assert tables_of().same_files(before) == ("id_vectors.npy",)
