import dataclasses

import numpy as np
import pandas as pd
import pytest

from nextitem_training import workflow as sessions_workflow
from nextitem_training.config import Config, ItemsConfig
from nextitem_training.errors import DataError
from nextitem_training.items.encodings import Categories, Scale
from nextitem_training.items.table import read_items
from nextitem_training.items.workflow import describe_items, encode_items, encodings_of, fit_items
from nextitem_training.schema import ItemAttribute

CLICKED = np.array(["d", "b", "a", "unlisted"], dtype=object)


def table_of(rows, items, tmp_path):
    rows.to_parquet(tmp_path / "items.parquet")
    return read_items(tmp_path / "items.parquet", Config(items=items), "string")


@pytest.fixture
def fitted(rows, items, tmp_path):
    table = table_of(rows, items, tmp_path)
    items = dataclasses.replace(items, vectors_width=2)
    return table, fit_items(table, CLICKED, items, tmp_path / "storage"), items


def test_what_is_encoded_is_what_the_fit_saw_of_clicked_items(fitted):
    table, workflow, items = fitted
    found = encodings_of(workflow, describe_items(workflow, table, items))
    assert [one.name for one in found] == ["brand", "shop", "tags", "price", "weight"]
    brand, shop, tags, price, weight = found
    assert isinstance(brand, Categories)
    assert isinstance(price, Scale)
    assert brand.values.tolist() == ["north"]  # south and east are of items that nobody clicked
    assert (shop.values.dtype, shop.values.tolist()) == (np.int64, [7])
    assert tags.values.tolist() == ["red", "new"]  # most frequent first
    logs = np.log1p([10.0, 20.0, 0.0])
    assert price.log
    assert price.mean == pytest.approx(logs.mean())
    assert price.std == pytest.approx(logs.std(ddof=1), rel=1e-5)
    assert not weight.log
    assert weight.mean == pytest.approx(1.5)


def test_codes_bags_numbers_and_vectors_stand_at_the_items_codes(fitted):
    table, workflow, items = fitted
    found = encode_items(workflow, table, np.array(["unlisted", "c", "d", "e", "b"], dtype=object), items)
    price, weight = encodings_of(workflow, describe_items(workflow, table, items))[3:]
    assert found.codes.dtype == np.int64
    # Padding, null and unknown; then null for an item without a row, unknown values, known ones and null.
    assert found.codes.tolist() == [[0, 0]] * 3 + [[1, 1], [2, 2], [3, 3], [2, 2], [1, 1]]
    assert [bag.tolist() for bag in found.bags] == [[[0, 0]] * 3 + [[0, 0], [0, 0], [3, 0], [2, 0], [0, 0]]]
    assert found.numbers.dtype == np.float32
    expected = [[0, (3 - weight.mean) / weight.std], [(0 - price.mean) / price.std, 0]]
    expected += [[(np.log1p(40) - price.mean) / price.std, (5 - weight.mean) / weight.std]]
    expected += [[(np.log1p(20) - price.mean) / price.std, (2 - weight.mean) / weight.std]]
    np.testing.assert_allclose(found.numbers, [[0, 0]] * 4 + expected, rtol=1e-5)
    assert found.vectors.tolist() == [[0, 0]] * 4 + [[0, 0], [0.5, 0.5], [1, 1], [0, 1]]


def test_the_schema_says_what_there_is(fitted):
    table, workflow, items = fitted
    schema = describe_items(workflow, table, items)
    assert schema.attributes == (
        ItemAttribute("brand", "categorical", "string", 4),
        ItemAttribute("shop", "categorical", "int64", 4),
        ItemAttribute("tags", "multi_hot", "string", 5, 2),
        ItemAttribute("price", "log_continuous", "float32"),
        ItemAttribute("weight", "continuous", "float32"),
    )
    assert (schema.vectors, schema.vectors_width, schema.shown) == ("text", 2, {"title": "name"})
    assert [one.name for one in schema.of_kind("categorical")] == ["brand", "shop"]


def test_the_saved_workflow_encodes_the_same(fitted, tmp_path):
    table, workflow, items = fitted
    sessions_workflow.save(workflow, tmp_path / "saved")
    loaded = sessions_workflow.load(tmp_path / "saved")
    before, after = (encode_items(one, table, CLICKED, items) for one in (workflow, loaded))
    assert (after.codes == before.codes).all()
    assert (after.bags[0] == before.bags[0]).all()
    assert (after.numbers == before.numbers).all()
    assert str(tmp_path).encode() not in (tmp_path / "saved" / "workflow.pkl").read_bytes()


def test_vectors_alone_need_no_workflow(rows, tmp_path):
    items = ItemsConfig(item_column="sku", vectors="text", vectors_width=2)
    table = table_of(rows, items, tmp_path)
    assert fit_items(table, CLICKED, items, tmp_path / "storage") is None
    found = encode_items(None, table, CLICKED, items)
    assert found.vectors.tolist() == [[0, 0]] * 3 + [[0.5, 0.5], [0, 1], [1, 0], [0, 0]]
    assert (found.codes.shape, found.numbers.shape, found.bags) == ((7, 0), (7, 0), ())
    assert encodings_of(None, describe_items(None, table, items)) == ()


def test_names_that_are_no_file_names_and_numbers_that_are_all_the_same(rows, tmp_path):
    named = rows.rename(columns={"brand": "a/b", "tags": "t*g"}).assign(weight=3.0)
    items = ItemsConfig(item_column="sku", categorical=("a/b",), multi_hot=("t*g",), continuous=("weight",))
    table = table_of(named, items, tmp_path)
    workflow = fit_items(table, CLICKED, items, tmp_path / "storage")
    found = encodings_of(workflow, describe_items(workflow, table, items))
    assert [one.name for one in found] == ["a/b", "t*g", "weight"]
    assert found[2] == Scale("weight", False, 3.0, 1.0)
    assert (encode_items(workflow, table, CLICKED, items).numbers == 0).all()


@pytest.mark.parametrize("first", [[], ["x"]])
def test_lists_may_be_empty_wherever_they_stand(tmp_path, first):
    rows = pd.DataFrame({"item_id": ["a", "b", "c"], "tags": [first, ["x", "y"], []]})
    items = ItemsConfig(multi_hot=("tags",))
    table = table_of(rows, items, tmp_path)
    workflow = fit_items(table, np.array(["a", "b", "c"], dtype=object), items, tmp_path / "storage")
    bag = encode_items(workflow, table, np.array(["c", "a", "b"], dtype=object), items).bags[0][3:]
    assert bag[:2].tolist() == [[0, 0], [3 if first else 0, 0]]
    assert sorted(bag[2]) == [3, 4]


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"sku": list("vwxyz")},
            "none of its 5 ids is an item of the training interactions; they begin with 'v', .* 'd'",
        ),
        ({"brand": [None, None, "x", None, "x"]}, "'brand' holds no value for any item of the training; leave it out"),
        (
            {"weight": [None, None, 1.0, None, 1.0]},
            "'weight' holds no value for any item of the training; leave it out",
        ),
        ({"tags": [None, [], ["x"], [], []]}, "'tags' holds no value for any item of the training; leave it out"),
    ],
)
def test_a_table_that_says_nothing_of_clicked_items_is_refused(rows, items, tmp_path, change, sentence):
    table = table_of(rows.assign(**change), items, tmp_path)
    with pytest.raises(DataError, match=f"^--items: .*{sentence}"):
        fit_items(table, CLICKED, items, tmp_path / "storage")


def test_numbers_that_float32_cannot_add_up_are_refused(rows, items, tmp_path):
    huge = dataclasses.replace(items, log_continuous=(), vectors_width=2)
    table = table_of(rows.assign(weight=[3e38, -3e38, 3e38, 3e38, 3e38]), huge, tmp_path)
    workflow = fit_items(table, CLICKED, huge, tmp_path / "storage")
    with pytest.raises(DataError, match=r"'weight' is NaN or infinite for .* items once it is standardised: it holds"):
        encode_items(workflow, table, CLICKED, huge)
