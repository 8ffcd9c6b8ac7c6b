import dataclasses
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet
import pytest

from nextitem_training.config import Config, DataConfig, ItemsConfig
from nextitem_training.errors import ConfigError, DataError
from nextitem_training.items.table import check_items, read_items


def read(path, items, item_dtype="string", **data):
    return read_items(path, Config(data=DataConfig(**data), items=items), item_dtype)


@pytest.fixture
def path(rows, tmp_path):
    rows.to_parquet(tmp_path / "items.parquet")
    return tmp_path / "items.parquet"


def test_columns_have_one_type_and_one_form_of_null(path, items):
    table = read(path, items)
    assert table.ids.tolist() == ["a", "b", "c", "d", "e"]
    frame = table.frame.set_index("item_id")
    assert frame["brand"].tolist() == ["north", None, "south", "north", "east"]
    assert frame["shop"].dtype == "Int64"
    assert frame["shop"]["c"] == 2**60 + 1
    assert frame["price"].dtype == np.float32
    assert frame["tags"].tolist() == [["new", "red"], [], [], ["red"], ["blue"]]
    assert frame["name"].tolist() == ["A", "B", None, "D", "E"]
    assert table.vectors.tolist() == [[1, 0], [0, 1], [0, 0], [0.5, 0.5], [1, 1]]
    assert table.dtypes == {
        "brand": "string",
        "shop": "int64",
        "tags": "string",
        "price": "float32",
        "weight": "float32",
    }


def test_it_is_kept_as_it_was_read(path, items, tmp_path):
    table = read(path, items)
    kept = table.to_arrow()
    assert kept.column_names == ["item_id", "brand", "shop", "tags", "price", "weight", "name", "text"]
    assert kept.schema.field("text").type == pa.list_(pa.float32())
    assert kept.schema.field("tags").type == pa.list_(pa.string())
    assert kept.schema.field("shop").type == pa.int64()
    pyarrow.parquet.write_table(kept, tmp_path / "kept.parquet")
    again = read(tmp_path / "kept.parquet", dataclasses.replace(items, item_column=""))
    assert again.to_arrow().equals(kept)


def test_json_lines_are_read_as_parquet_is(path, rows, items, tmp_path):
    lines = rows.astype({"shop": object}).where(rows.notna(), None).to_dict("records")
    (tmp_path / "items.jsonl").write_text("\n".join(map(json.dumps, lines)))
    assert read(tmp_path / "items.jsonl", items).to_arrow().equals(read(path, items).to_arrow())


def test_csv_has_all_but_lists(path, rows, items, tmp_path):
    rows.drop(columns=["tags", "text"]).to_csv(tmp_path / "items.csv", index=False)
    without = dataclasses.replace(items, multi_hot=(), vectors="")
    assert read(tmp_path / "items.csv", without).to_arrow().equals(read(path, without).to_arrow())
    rows.to_csv(tmp_path / "items.csv", index=False)
    with pytest.raises(
        DataError, match=r"'tags' is string, but multi_hot takes lists .* as Parquet and JSON lines have"
    ):
        read(tmp_path / "items.csv", dataclasses.replace(items, vectors=""))
    with pytest.raises(DataError, match=r"'text' is string, but \[items\] vectors takes a column of lists"):
        read(tmp_path / "items.csv", dataclasses.replace(items, multi_hot=()))


@pytest.mark.parametrize(("dtype", "ids"), [("string", ["7", "8"]), ("int64", [7, 8])])
def test_ids_in_csv_have_the_interactions_type(tmp_path, dtype, ids):
    (tmp_path / "items.csv").write_text("item_id,brand,name\n7,1,2008\n8,2,2009\n")
    table = read(tmp_path / "items.csv", ItemsConfig(categorical=("brand",), title="name"), dtype)
    assert table.ids.tolist() == ids
    assert table.frame["brand"].tolist() == [1, 2]
    assert table.frame["name"].tolist() == ["2008", "2009"]


def test_an_attribute_may_be_the_title_too(path, items):
    table = read(path, dataclasses.replace(items, title="brand"))
    assert table.to_arrow().column_names.count("brand") == 1


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"sku": ["a", "b", "a", "d", "a"]},
            "'sku' has 'a' 3 times, and 2 rows too many in all; give one row for each item",
        ),
        (
            {"sku": [1, 2, 3, 4, 5]},
            "'sku' is int64, and the item ids of the interactions are strings, so that no id would",
        ),
        ({"sku": ["a", None, "c", "d", ""]}, "'sku' is null in 2 rows; every row needs the id of its item"),
        ({"sku": ["a", "b\0", "c", "d", "e"]}, r"'sku' holds 'b\\x00', with a NUL character"),
        ({"brand": None}, r"'brand' holds no value at all; leave it out of \[items\]"),
        ({"brand": ["", "", "", "", ""]}, r"'brand' holds no value at all; leave it out of \[items\]"),
        ({"brand": [1.5, 2, 3, 4, 5]}, "'brand' is float32, but categorical takes strings or integers. Convert"),
        (
            {"price": list("abcde")},
            "'price' is string, but continuous and log_continuous take integers or floats. Convert",
        ),
        ({"price": [1.0, np.inf, 2, 3, 4]}, "'price' holds infinite values; replace them by null"),
        ({"price": None}, r"'price' holds no value at all; leave it out of \[items\]"),
        ({"name": [1.5, 2, 3, 4, 5]}, "'name' is float32, but title, image and url take strings. Convert"),
        ({"name": None}, r"'name' holds no value at all; leave it out of \[items\]"),
        ({"tags": list("abcde")}, "'tags' is string, but multi_hot takes lists of strings or integers"),
        ({"tags": [[1.5]] * 5}, "'tags' holds lists of double, but multi_hot takes lists of strings or integers"),
        ({"tags": [[None], [""], [], None, []]}, r"'tags' holds no value at all; leave it out of \[items\]"),
        ({"tags": None}, r"'tags' holds no value at all; leave it out of \[items\]"),
        ({"text": None}, r"'text' holds no vector at all; leave it out of \[items\]"),
        ({"text": list("abcde")}, r"'text' is string, but \[items\] vectors takes a column of lists of floats"),
        ({"text": [["x"]] * 5}, "'text' holds lists of string, but .* takes lists of floats"),
        (
            {"text": [None, [1.0, 2], [1.0], [1.0, 2], None]},
            "'text' holds vectors of uneven width: 2 numbers for item 'b', 1 for item 'c'. Give all the same width",
        ),
        ({"text": [[]] * 5}, "'text' holds vectors of uneven width: 0 numbers for item 'a'"),
        ({"text": [[1.0], [np.nan], [1], [np.inf], None]}, "NaN, infinite or null numbers in 2 rows, .* of item 'b'"),
        ({"text": [[1.0], None, [None], [1.0], [1.0]]}, "NaN, infinite or null numbers in 1 rows, .* of item 'c'"),
        ({"text": [[1e300]] * 5}, "NaN, infinite or null numbers in 5 rows, .* of item 'a'"),
    ],
)
def test_a_table_that_cannot_be_used_is_refused_with_the_option_in_it(rows, items, tmp_path, change, sentence):
    columns = {name: [None] * 5 if values is None else values for name, values in change.items()}
    pa.Table.from_pandas(rows.assign(**columns)).to_pandas()
    pyarrow.parquet.write_table(pa.Table.from_pandas(rows.assign(**columns)), tmp_path / "items.parquet")
    with pytest.raises(DataError, match=f"^--items: .*{sentence}"):
        read(tmp_path / "items.parquet", items)


def test_a_missing_column_is_named_with_those_that_there_are(rows, items, tmp_path):
    rows.rename(columns={"brand": "brnad"}).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(
        DataError, match=r"^--items: .*items.parquet has no column 'brand'. Did you mean 'brnad'\? It has sku"
    ):
        read(tmp_path / "items.parquet", items)


def test_files_that_are_none_are_refused(rows, items, tmp_path):
    with pytest.raises(DataError, match=r"^--items: There is no file or folder .*none; give --items the items' path"):
        read(tmp_path / "none", items)
    rows.head(0).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(DataError, match=r"^--items: .*items.parquet holds no rows"):
        read(tmp_path / "items.parquet", items)
    (tmp_path / "items.jsonl").write_text("")
    with pytest.raises(DataError, match=r"^--items: .*items.jsonl holds no rows"):
        read(tmp_path / "items.jsonl", items)
    (tmp_path / "items.parquet").write_bytes(b"PAR1")
    with pytest.raises(DataError, match=r"^--items: .*items.parquet cannot be read as Parquet"):
        read(tmp_path / "items.parquet", items)
    (tmp_path / "items.xls").write_bytes(b"")
    with pytest.raises(DataError, match=r"^--items: .*items.xls is no file of items by its name"):
        read(tmp_path / "items.xls", items)


def test_a_table_and_its_settings_go_together(tmp_path):
    check_items(None, ItemsConfig())
    with pytest.raises(ConfigError, match=r"\[items\] is set, but no items table is given; name it with --items"):
        check_items(None, ItemsConfig(title="name"))
    with pytest.raises(ConfigError, match=r"--items is given, but \[items\] says nothing to learn from it; list"):
        check_items(tmp_path / "items.parquet", ItemsConfig(title="name"))


def test_vectors_of_a_file_stand_at_their_items(path, items, tmp_path):
    file = tmp_path / "texts.npz"
    np.savez(file, ids=np.array(["d", "z", "a"]), vectors=np.arange(6, dtype=np.float32).reshape(3, 2))
    table = read(path, dataclasses.replace(items, vectors=str(file)))
    assert table.vectors.tolist() == [[4, 5], [0, 0], [0, 0], [0, 1], [0, 0]]
    assert table.to_arrow().column_names[-1] == "vectors"
    with pytest.raises(
        DataError, match=r"^--items: .*none.npz cannot be read .*; \[items\] vectors has to be the path"
    ):
        read(path, dataclasses.replace(items, vectors=str(tmp_path / "none.npz")))
    np.savez(file, ids=np.array([1]), vectors=np.ones((1, 2)))
    with pytest.raises(
        DataError, match=r"^--items: 'ids' in .*texts.npz holds integers, but the item column holds strings"
    ):
        read(path, dataclasses.replace(items, vectors=str(file)))


def test_a_column_cannot_have_the_name_that_a_files_vectors_get(rows, tmp_path):
    rows.rename(columns={"brand": "vectors"}).to_parquet(tmp_path / "items.parquet")
    np.savez(tmp_path / "texts.npz", ids=np.array(["a"]), vectors=np.ones((1, 2)))
    chosen = ItemsConfig(item_column="sku", categorical=("vectors",), vectors=str(tmp_path / "texts.npz"))
    with pytest.raises(DataError, match=r"the table has a column 'vectors', which the vectors of .* rename the column"):
        read(tmp_path / "items.parquet", chosen)


@pytest.mark.parametrize("kind", [pa.list_(pa.float64(), 2), pa.large_list(pa.float32()), pa.list_(pa.int64())])
def test_vectors_may_be_lists_of_any_kind(rows, items, tmp_path, kind):
    values = [[1, 0], [0, 0], [0, 1], [2, 3], [4, 5]]  # pyarrow writes no null among lists of a fixed size
    table = pa.Table.from_pandas(rows.drop(columns="text")).append_column("text", pa.array(values, kind))
    pyarrow.parquet.write_table(table, tmp_path / "items.parquet")
    assert read(tmp_path / "items.parquet", items).vectors.tolist() == [[1, 0], [0, 0], [0, 1], [2, 3], [4, 5]]


def test_rows_are_found_by_id(path, items):
    assert read(path, items).rows_of(np.array(["d", "z", "a"], dtype=object)).tolist() == [3, -1, 0]
    assert isinstance(read(path, items).frame, pd.DataFrame)
