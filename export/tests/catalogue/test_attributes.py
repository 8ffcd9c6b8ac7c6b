"""How attributes are encoded: what each kind makes of known, null and unseen values."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from nextitem_export.catalogue.attributes import Attribute, Attributes

NULL, UNKNOWN = 1, 2
CATEGORY = Attribute("category", "categorical", "string", ("shoes", "ø", "hats"))
SIZE = Attribute("size", "categorical", "int64", (2**60 + 1, 7))
TAGS = Attribute("tags", "multi_hot", "string", ("red", "blue"))
PRICE = Attribute("price", "log_continuous", "float32", mean=1.0, std=2.0)
RATING = Attribute("rating", "continuous", "float32", mean=3.0, std=0.5)
ALL = Attributes((CATEGORY, TAGS, PRICE, SIZE, RATING), "text", 3, {"title": "name", "image": "category"})


def rows_of(**columns: list) -> pa.Table:
    """Rows in the schema, null where no column is given."""
    count = len(next(iter(columns.values())))
    return pa.table(
        {field.name: pa.array(columns.get(field.name, [None] * count), field.type) for field in ALL.schema},
        schema=ALL.schema,
    )


def test_the_schema_has_each_column_once_and_in_its_type():
    assert ALL.schema == pa.schema(
        {
            "category": pa.string(),
            "tags": pa.list_(pa.string()),
            "price": pa.float32(),
            "size": pa.int64(),
            "rating": pa.float32(),
            "text": pa.list_(pa.float32()),
            "name": pa.string(),
        }
    )


def test_codes_stand_side_by_side_in_the_order_of_the_schema():
    encoded = ALL.encode(rows_of(category=["hats", None, "ø", "new"], size=[7, 8, None, 2**60 + 1]))
    codes = encoded.tensors["codes"]
    assert codes.dtype == np.int64
    assert codes.tolist() == [[5, 4], [NULL, UNKNOWN], [4, NULL], [UNKNOWN, 3]]
    assert encoded.unseen == {"category": 1, "size": 1}


def test_numbers_stand_in_the_order_of_their_kinds():
    """Logarithms first, as the model has them."""
    numbers = ALL.encode(rows_of(price=[np.e - 1, -5.0, None, 0.0], rating=[3.0, 4.0, None, float("nan")])).tensors[
        "numbers"
    ]
    assert numbers.dtype == np.float32
    np.testing.assert_allclose(numbers[:, 0], [0, -0.5, 0, -0.5], atol=1e-6)
    np.testing.assert_allclose(numbers[:, 1], [0, 2, 0, 0], atol=1e-6)


def test_a_column_without_spread_is_only_shifted():
    flat = Attributes((Attribute("rating", "continuous", "float32", mean=3.0, std=0.0),))
    rows = pa.table({"rating": pa.array([3.0, 5.0], pa.float32())})
    assert flat.encode(rows).tensors["numbers"].ravel().tolist() == [0, 2]


@pytest.mark.parametrize("start", [0, 1, 2])
def test_lists_are_filled_from_the_left(start):
    """Of rows that begin somewhere within a table, too."""
    tags = [["blue"], ["blue", None, "red"], None, [], ["new", "red"]]
    encoded = ALL.encode(rows_of(tags=tags).slice(start))
    assert encoded.tensors["bag_0"].tolist() == [[4, 0], [4, 3], [0, 0], [0, 0], [UNKNOWN, 3]][start:]
    assert encoded.unseen == {"tags": 1}


def test_rows_without_any_value_still_have_one_column():
    assert ALL.encode(rows_of(tags=[None, []])).tensors["bag_0"].tolist() == [[0], [0]]


def test_a_missing_vector_is_zeros():
    vectors = ALL.encode(rows_of(text=[[1, 2, 3], None, [4, 5, 6]])).tensors["vectors"]
    assert vectors.dtype == np.float32
    assert vectors.tolist() == [[1, 2, 3], [0, 0, 0], [4, 5, 6]]


def test_what_the_model_has_not_is_absent():
    alone = Attributes((RATING,))
    rows = pa.table({"rating": pa.array([3.0], pa.float32())})
    assert list(alone.encode(rows).tensors) == ["numbers"]
    assert list(ALL.encode(rows_of(category=["ø"])).tensors) == ["codes", "bag_0", "numbers", "vectors"]


def test_rows_in_several_chunks_are_encoded_as_in_one():
    parts = [
        rows_of(category=["hats"], tags=[["red"]], price=[2.0], text=[[1, 2, 3]]),
        rows_of(category=["ø"], tags=[[]]),
    ]
    encoded = ALL.encode(pa.concat_tables(parts)).tensors
    for name, values in ALL.encode(pa.concat_tables(parts).combine_chunks()).tensors.items():
        np.testing.assert_array_equal(encoded[name], values)


def test_no_rows_give_no_rows():
    tensors = ALL.encode(ALL.schema.empty_table()).tensors
    assert {name: values.shape for name, values in tensors.items()} == {
        "codes": (0, 2),
        "bag_0": (0, 1),
        "numbers": (0, 2),
        "vectors": (0, 3),
    }


def test_what_a_caller_would_send_leaves_out_lists():
    assert ALL.sent == (("category", "string"), ("price", "float32"), ("size", "int64"), ("rating", "float32"))


def test_what_is_saved_is_loaded(tmp_path):
    assert Attributes.load(tmp_path) is None
    ALL.save(tmp_path)
    assert Attributes.load(tmp_path) == ALL
