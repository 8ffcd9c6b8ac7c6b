"""What a table of items does to the tables of a catalogue."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_export import CatalogueError
from nextitem_export.catalogue.changes import Changes, How, changes_of
from nextitem_export.catalogue.reading import TypedItems
from nextitem_export.catalogue.tables import Tables

COLUMNS = {"colour": pa.string(), "price": pa.float32(), "tags": pa.list_(pa.string()), "v": pa.list_(pa.float32())}
SCHEMA = pa.schema(list(COLUMNS.items()))
PARTIAL, WHOLE, ALL_BUT_FEW = How(partial=True), How(), How(remove_most=True)


def row(number: int = 0, **changes) -> dict:
    return {"colour": "red", "price": float(number), "tags": ["a"] * (number % 3), "v": [float(number), 1.0], **changes}


def tables(
    ids: list, counts: list[int] | None = None, *, rows: bool = True, bias: bool = False, width: int = 2
) -> Tables:
    random = np.random.default_rng(0)
    count = len(ids)
    strings = any(isinstance(item, str) for item in ids)
    return Tables(
        ids=np.array([*ids, None], dtype=object)[:-1] if strings else np.array(ids, dtype=np.int64),
        removed=np.zeros(count, dtype=bool),
        counts=np.array(counts or [1] * count, dtype=np.int64),
        id_vectors=random.random((FIRST_ITEM + count, width)).astype(np.float32),
        bias=random.random(FIRST_ITEM + count).astype(np.float32) if bias else None,
        rows=pa.Table.from_pylist([row(number) for number in range(count)], schema=SCHEMA) if rows else None,
    )


def update(before: Tables, rows: dict, how: How = PARTIAL, *, content: bool = True) -> Changes:
    """rows: by raw id."""
    table = pa.Table.from_pylist([{"item_id": item, **columns} for item, columns in rows.items()])
    read = TypedItems(table, "item_id", strings=before.ids.dtype == object, max_id_bytes=50)
    vectors = ("v", 2) if content else ("", 0)
    return changes_of(before, read, how, content=content, vectors=vectors)


def codes(*given: int) -> list[int]:
    return [place + FIRST_ITEM for place in given]


def summary(changes: Changes) -> dict[str, list[int]]:
    names = ("added", "returned", "changed", "removed")
    return {name: getattr(changes, name).tolist() for name in names if len(getattr(changes, name))}


def refused(sentence: str):
    return pytest.raises(CatalogueError, match=f"^{re.escape(sentence)}")


def test_new_items_take_codes_after_the_last():
    before = tables(["a", "b"], bias=True)
    changes = update(before, {"d": row(7), "c": row(8)})
    after = changes.tables
    assert summary(changes) == {"added": codes(2, 3)}
    assert changes.ids(changes.added) == ["d", "c"]
    assert after.ids.tolist() == ["a", "b", "d", "c"]
    assert after.counts.tolist() == [1, 1, 0, 0]
    assert after.rows.to_pylist() == [row(0), row(1), row(7), row(8)]
    np.testing.assert_array_equal(after.id_vectors[:5], before.id_vectors)
    assert not after.id_vectors[5:].any(), "nothing is known of an id that training never saw"
    np.testing.assert_allclose(after.bias[5:], before.bias[3:].mean(), rtol=1e-6)


def test_a_row_that_differs_in_anything_is_a_change_and_what_is_the_same_is_none():
    before = tables([10, 20, 30, 40, 50])
    rows = {
        10: row(0),
        20: row(1, colour=None),
        30: row(2, tags=["a", "b"]),
        40: row(3, v=[3.0, 2.0]),
        50: row(4, price=None),
    }
    changes = update(before, rows, WHOLE)
    assert summary(changes) == {"changed": codes(1, 2, 3, 4)}
    assert changes.tables.rows.to_pylist() == list(rows.values())
    np.testing.assert_array_equal(changes.tables.id_vectors, before.id_vectors)
    assert update(changes.tables, rows, WHOLE).none
    assert not changes.none


def test_a_whole_table_removes_what_it_leaves_out_and_a_partial_one_does_not():
    before = tables(["a", "b", "c"])
    given = {"a": row(0), "c": row(2)}
    assert update(before, given).none
    changes = update(before, given, WHOLE)
    assert summary(changes) == {"removed": codes(1)}
    assert changes.tables.removed.tolist() == [False, True, False]
    assert changes.tables.ids.tolist() == ["a", "b", "c"]
    assert update(changes.tables, given, WHOLE).none, "an item is removed once"


def test_an_item_that_comes_back_has_its_old_code_and_what_was_learnt_of_it():
    before = tables(["a", "b", "c"], [5, 6, 7])
    without = update(before, {"a": row(0), "c": row(2)}, WHOLE).tables
    changes = update(without, {"b": row(9)})
    assert summary(changes) == {"returned": codes(1)}
    assert changes.tables.removed.tolist() == [False] * 3
    assert changes.tables.counts.tolist() == [5, 6, 7]
    assert changes.tables.rows.to_pylist()[1] == row(9)
    np.testing.assert_array_equal(changes.tables.id_vectors, before.id_vectors)


def test_most_items_go_only_where_it_is_said():
    before = tables(["a", "b", "c"])
    with refused("the table leaves out 2 of the catalogue's 3 items, which would be removed: give the whole table, or"):
        update(before, {"a": row(0)}, WHOLE)
    assert summary(update(before, {"a": row(0)}, ALL_BUT_FEW)) == {"removed": codes(1, 2)}
    assert summary(update(before, {"a": row(0), "b": row(1)}, WHOLE)) == {"removed": codes(2)}


def test_what_is_left_away_of_a_row_is_refused():
    with refused(
        "the table has no column 'tags', which the catalogue has of each item; it has item_id, colour, price, v"
    ):
        update(tables(["a"]), {"a": {name: value for name, value in row().items() if name != "tags"}})
    with refused("row 1 (item 'a') has a vector of 3 numbers in 'v', and those of the catalogue have 2"):
        update(tables(["a"]), {"a": row(v=[1.0, 2.0, 3.0])})


def test_columns_that_the_catalogue_does_not_know_are_left_out():
    changes = update(tables(["a"]), {"a": row(0, supplier="x")})
    assert changes.none
    assert changes.tables.rows.schema == SCHEMA


def test_items_without_a_row_get_one():
    before = tables(["a", "b"])
    empty = pa.table([pa.nulls(2, field.type) for field in SCHEMA], schema=SCHEMA)
    changes = update(dataclasses.replace(before, rows=empty), {"b": row(1)})
    assert summary(changes) == {"changed": codes(1)}
    assert changes.tables.rows.to_pylist() == [dict.fromkeys(COLUMNS), row(1)]


IDS = st.sampled_from([f"i{number}" for number in range(9)])
UPDATES = st.lists(
    st.tuples(st.booleans(), st.dictionaries(IDS, st.integers(0, 5), min_size=1)), min_size=1, max_size=8
)


@given(start=st.lists(IDS, unique=True, min_size=1), updates=UPDATES)
def test_any_sequence_of_updates(start, updates):
    """Against plain dictionaries: codes only grow, an item keeps its code, whole tables remove, and rows are the latest."""
    found = tables(start)
    learnt = dict(zip(start, found.id_vectors[FIRST_ITEM:].tolist(), strict=True))
    code_of = {item: code for code, item in enumerate(start)}
    listed = {item: row(number) for number, item in enumerate(start)}
    for partial, given_rows in updates:
        rows = {item: row(number) for item, number in given_rows.items()}
        changes = update(found, rows, How(partial=partial, remove_most=True))
        before, found = found, changes.tables
        added = [item for item in rows if item not in code_of]
        code_of |= {item: len(code_of) + place for place, item in enumerate(added)}
        expected = {
            "added": sorted(code_of[item] for item in added),
            "returned": sorted(code_of[item] for item in rows if item not in listed and item not in added),
            "changed": sorted(code_of[item] for item in rows if item in listed and listed[item] != rows[item]),
            "removed": [] if partial else sorted(code_of[item] for item in listed if item not in rows),
        }
        assert summary(changes) == {name: codes(*places) for name, places in expected.items() if places}
        listed = {**listed, **rows} if partial else rows
        assert dict(zip(found.ids.tolist(), range(len(found.ids)), strict=True)) == code_of
        assert {item for item, code in code_of.items() if not found.removed[code]} == set(listed)
        assert len(found.ids) >= len(before.ids)
        kept = found.rows.to_pylist()
        assert {item: kept[code_of[item]] for item in listed} == listed
        for item, code in code_of.items():
            assert found.id_vectors[code + FIRST_ITEM].tolist() == learnt.get(item, [0.0, 0.0])
            assert found.counts[code] == (item in learnt)


# Models that know items by their ids alone.


def grouped(**groups) -> dict:
    return {item: {"kind": group} for item, group in groups.items()}


BY_KIND = How(group="kind")


def test_a_new_item_starts_from_the_mean_of_its_group():
    before = tables(["a", "b", "c", "d"], [3, 1, 1, 0], rows=False, bias=True)
    given_rows = grouped(a="x", b="x", c="y", d="x", new="x", other="z", none=None)
    changes = update(before, given_rows, BY_KIND, content=False)
    assert summary(changes) == {"added": codes(4, 5, 6)}
    for values, old in ((changes.tables.id_vectors, before.id_vectors), (changes.tables.bias, before.bias)):
        np.testing.assert_array_equal(values[: FIRST_ITEM + 4], old)
        np.testing.assert_allclose(values[codes(4)], old[codes(0, 1)].mean(axis=0)[None], rtol=1e-6)
        np.testing.assert_allclose(values[codes(5)], old[codes(0, 1, 2)].mean(axis=0)[None], rtol=1e-6)
        np.testing.assert_array_equal(values[codes(6)], values[codes(5)])
    assert changes.tables.rows.to_pydict() == {"kind": ["x", "x", "y", "x", "x", "z", None]}


def test_groups_are_kept_for_the_next_partial_table():
    before = update(tables(["a", "b", "c"], rows=False), grouped(a="x", b="x", c="y"), BY_KIND, content=False).tables
    changes = update(before, grouped(new="y"), How(partial=True, group="kind"), content=False)
    np.testing.assert_array_equal(changes.tables.id_vectors[codes(3)], before.id_vectors[codes(2)])


def test_an_item_that_training_never_saw_follows_its_group():
    how = How(partial=True, group="kind")
    before = update(tables(["a", "b"], rows=False), grouped(a="x", b="y", c="x"), BY_KIND, content=False).tables
    changes = update(before, grouped(a="y", c="y"), how, content=False)
    assert summary(changes) == {"changed": codes(2)}
    learnt = before.id_vectors[codes(0, 1)]
    np.testing.assert_allclose(changes.tables.id_vectors[codes(2)], learnt.mean(axis=0)[None], rtol=1e-6)
    np.testing.assert_array_equal(changes.tables.id_vectors[codes(0, 1)], learnt)


def test_the_group_of_a_removed_item_counts():
    before = update(tables(["a", "b"], rows=False), grouped(a="x", b="y"), BY_KIND, content=False).tables
    changes = update(before, grouped(b="y", new="x"), BY_KIND, content=False)
    assert summary(changes) == {"added": codes(2), "removed": codes(0)}
    np.testing.assert_array_equal(changes.tables.id_vectors[codes(2)], before.id_vectors[codes(0)])


def test_without_a_group_items_can_only_go():
    before = tables(["a", "b", "c"], rows=False)
    assert summary(update(before, {"a": {}, "c": {}}, WHOLE, content=False)) == {"removed": codes(1)}
    with refused("the model knows items by their ids alone, so that the 1 new items have no vector: name a column"):
        update(before, {"a": {}, "d": {}}, PARTIAL, content=False)


def test_a_model_with_content_takes_no_group():
    with refused(
        "the model has a vector of each item's attributes, so that new items need no group 'kind' to start from"
    ):
        update(tables(["a"]), {"a": row()}, BY_KIND)
