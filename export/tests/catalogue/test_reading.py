"""Tables of items from files, and each mistake in them as a sentence."""

from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from nextitem_export import CatalogueError
from nextitem_export.catalogue.reading import TypedItems, read_items

TEXTS = pa.list_(pa.string())
FLOATS = pa.list_(pa.float32())


def items(strings: bool = True, **columns) -> TypedItems:
    count = len(next(iter(columns.values())))
    ids = [f"i{number}" for number in range(count)] if strings else list(range(count))
    table = pa.table({**({} if "item_id" in columns else {"item_id": ids}), **columns})
    return TypedItems(table, "item_id", strings=strings, max_id_bytes=20)


def refused(sentence: str):
    return pytest.raises(CatalogueError, match=f"^{re.escape(sentence)}")


@pytest.mark.parametrize("name", ["items.parquet", "items", "folder"])
def test_parquet_is_read_whatever_its_name(tmp_path, name):
    place = tmp_path / name
    if name == "folder":
        place.mkdir()
    file = place / "part-0.parquet" if name == "folder" else place
    pyarrow.parquet.write_table(pa.table({"item_id": ["a"], "price": [1.5]}), file)
    assert read_items(place).to_pylist() == [{"item_id": "a", "price": 1.5}]


@pytest.mark.parametrize(("name", "separator"), [("items.csv", ","), ("items.tsv", "\t"), ("items.csv.gz", ",")])
def test_csv_is_text_so_that_ids_stay_as_they_are_written(tmp_path, name, separator):
    frame = pd.DataFrame({"item_id": ["007", "8"], "price": ["1.50", ""], "name": ["a\nb", "c"]})
    frame.to_csv(tmp_path / name, sep=separator, index=False)
    table = read_items(tmp_path / name)
    assert table.to_pydict() == {"item_id": ["007", "8"], "price": ["1.50", None], "name": ["a\nb", "c"]}
    read = TypedItems(table, "item_id", strings=True, max_id_bytes=9)
    assert read.column("price", pa.float32()).to_pylist() == [1.5, None]
    assert TypedItems(table, "item_id", strings=False, max_id_bytes=9).ids.to_pylist() == [7, 8]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("none.parquet", None, "there is no file {}: give the table of items as Parquet or CSV"),
        ("x.parquet", b"no", "{} cannot be read as Parquet ("),
        ("x.csv", b"a,b\n1\n", "{} cannot be read as CSV ("),
        ("empty.csv", b"", "{} holds no items: give a table with one row for each item"),
        ("head.csv", b"item_id,price\n", "{} holds no items: give a table with one row for each item"),
    ],
)
def test_a_file_without_items_is_refused(tmp_path, name, content, sentence):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with refused(sentence.format(tmp_path / name)):
        read_items(tmp_path / name)


def test_a_parquet_file_without_rows_is_refused(tmp_path):
    pyarrow.parquet.write_table(pa.table({"item_id": pa.array([], pa.string())}), tmp_path / "x.parquet")
    with refused(f"{tmp_path / 'x.parquet'} holds no items"):
        read_items(tmp_path / "x.parquet")


@pytest.mark.parametrize(
    ("strings", "ids", "sentence"),
    [
        (True, ["a", "b", "a"], "the item 'a' stands in row 1 and in row 3: give one row for each item"),
        (False, [7, 8, 8], "the item 8 stands in row 2 and in row 3: give one row for each item"),
        (True, ["a", None], "row 2 has no id in 'item_id': leave the row away, or give the item an id"),
        (True, [1, 2], "the ids in 'item_id' are int64, and those of the catalogue are text: write them as text"),
        (False, ["7", "x8"], "the id 'x8' in row 2 of 'item_id' is no 64-bit integer, and those of the catalogue are"),
        (False, [2**63], "the id 9223372036854775808 in row 1 of 'item_id' is no 64-bit integer"),
        (False, [1.0, 2.0], "the ids in 'item_id' are double, no 64-bit integer"),
        (False, [-(2**63)], "the id -9223372036854775808 in row 1 means null in a request: give the item another id"),
        (True, ["a", ""], "the id '' in row 2 is empty, which means null in a request: give the item another id"),
        (
            True,
            ["a", "b\0c"],
            r"the id 'b\x00c' in row 2 has a NUL character, which no request may hold: give the item",
        ),
        (True, ["ø" * 11], "the id 'øøøøøøøøøøø' in row 1 is longer than the 20 bytes that a request may hold"),
    ],
)
def test_an_id_that_is_none_is_refused(strings, ids, sentence):
    kind = pa.uint64() if ids == [2**63] else None
    with refused(sentence):
        items(strings, item_id=pa.array(ids, kind))


def test_the_column_of_ids_is_looked_for():
    with refused("the table has no column 'item_id' with the items' ids, it has sku, price: rename its column of ids"):
        TypedItems(pa.table({"sku": ["a"], "price": [1]}), "item_id", strings=True, max_id_bytes=9)


@pytest.mark.parametrize(
    ("values", "wanted", "read"),
    [
        (pa.array(["a", None]).dictionary_encode(), pa.string(), ["a", None]),
        (pa.array(["a", None], pa.large_string()), pa.string(), ["a", None]),
        (pa.nulls(2), pa.string(), [None, None]),
        (pa.array([1, None]), pa.float32(), [1.0, None]),
        (pa.array([1.5, float("nan")]), pa.float32(), [1.5, None]),
        (pa.array([3.0, None]), pa.int64(), [3, None]),
        (pa.array([True, False]), pa.int64(), [1, 0]),
        (pa.array([["a", "", None], None]), TEXTS, [["a"], []]),
        (pa.array([["a"], ["b", "c"]], pa.large_list(pa.large_string())), TEXTS, [["a"], ["b", "c"]]),
        (pa.array([[1], []], pa.list_(pa.int16())), pa.list_(pa.int64()), [[1], []]),
        (pa.nulls(2), TEXTS, [[], []]),
    ],
)
def test_columns_come_in_the_types_of_the_catalogue(values, wanted, read):
    column = items(values=values).column("values", wanted)
    assert (column.type, column.to_pylist()) == (wanted, read)


@pytest.mark.parametrize(
    ("values", "wanted", "sentence"),
    [
        (
            [None, "12,50"],
            pa.float32(),
            "row 2 (item 'i1') has '12,50' in 'price', and the catalogue has numbers (float)",
        ),
        ([1.5, 2.0], pa.int64(), "row 1 (item 'i0') has 1.5 in 'price', which is no int64: correct the row, or leave"),
        ([1.0, float("inf")], pa.float32(), "row 2 (item 'i1') has inf in 'price', which is no float: correct the row"),
        (
            [1, 2],
            pa.string(),
            "the column 'price' holds int64, and the catalogue has text there, as it was in training",
        ),
        ([["a"], ["b"]], pa.float32(), "row 1 (item 'i0') has ['a'] in 'price', and the catalogue has numbers (float)"),
        ([1, 2], TEXTS, "the column 'price' holds int64, and the catalogue has a list of string there: write a list"),
        ([[1], [2]], TEXTS, "the lists in 'price' hold int64, and those of the catalogue hold text: write them as in"),
        ([["a"]], FLOATS, "the lists in 'price' hold string, and those of the catalogue hold numbers: write them as"),
        (
            [None, [1.0], [2.0, 0.5]],
            pa.list_(pa.int64()),
            "row 3 (item 'i2') has 0.5 in a list of 'price', which is no int64: correct the row",
        ),
    ],
)
def test_a_value_of_another_type_is_refused_by_its_row(values, wanted, sentence):
    with refused(sentence):
        items(price=values, other=[0] * len(values)).column("price", wanted)


def test_a_text_that_is_no_number_is_found_in_csv():
    read = items(price=["1", "2", "three", "4", "five"])
    with refused("row 3 (item 'i2') has 'three' in 'price', which is no float: correct the row, or leave the value"):
        read.column("price", pa.float32())
    with refused("the column 'price' holds string, and the catalogue has a list of string there: CSV has no lists, so"):
        read.column("price", TEXTS)


def test_a_column_that_is_missing_is_told():
    with refused("the table has no column 'colour', which the catalogue has of each item; it has item_id, price: add"):
        items(price=[1]).column("colour", pa.string())
    with refused("the table has no column 'colour' to group items by, it has item_id, price"):
        items(price=[1]).text("colour")


@pytest.mark.parametrize("wanted", [FLOATS, pa.list_(pa.float32(), 2)], ids=["list", "of fixed size"])
def test_an_item_without_a_vector_has_zeros(wanted):
    values = pa.array([[1.0, 2.0], None, [3.0, 4.0]])
    column = items(v=values).vectors("v", wanted, 2)
    assert (column.type, column.to_pylist()) == (wanted, [[1, 2], [0, 0], [3, 4]])
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(np.arange(4.0)), 2)
    assert items(v=fixed).vectors("v", wanted, 2).to_pylist() == [[0, 1], [2, 3]]
    assert items(v=pa.nulls(1)).vectors("v", wanted, 2).to_pylist() == [[0, 0]]


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ([[1.0, 2.0], [1.0]], "row 2 (item 'i1') has a vector of 1 numbers in 'v', and those of the catalogue have 2"),
        ([None, [1.0, None]], "row 2 (item 'i1') has a null or NaN in its vector in 'v': give finite numbers, or no"),
        ([[1.0, float("inf")]], "row 1 (item 'i0') has inf in a list of 'v', which is no float: correct the row"),
    ],
)
def test_a_vector_that_is_none_is_refused(values, sentence):
    with refused(sentence):
        items(v=values).vectors("v", FLOATS, 2)


def test_groups_are_text():
    assert items(group=[1, None, 3]).text("group").to_pylist() == ["1", None, "3"]
    assert items(group=["a", None]).text("group").to_pylist() == ["a", None]
    with refused(
        "the column 'group' holds list<item: int64>, which groups no items: name a column of text or integers"
    ):
        items(group=[[1], [2]]).text("group")
