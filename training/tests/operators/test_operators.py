"""The replacements for operators of NVTabular that are noise or cannot be repeated, inside real workflows."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from merlin.schema import Tags

from nextitem_training import workflow
from nextitem_training.errors import DataError
from nextitem_training.operators import Groupby, HashBucket, HashedCross, TargetEncoding
from nextitem_training.operators.hashing import FIRST_BUCKET, PRIME, hash_integers, hash_series
from nextitem_training.special_ids import NULL

INT64 = st.integers(-(2**63), 2**63 - 1)


@pytest.fixture
def rows() -> pd.DataFrame:
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"shop": random.integers(0, 50, 400) + 2**60, "clicked": random.integers(0, 2, 400)})
    frame["brand"] = [None if shop % 7 == 0 else f"brand-{shop % 7}" for shop in frame["shop"]]
    return frame


def fitted(output, frame: pd.DataFrame) -> nvt.Workflow:
    return nvt.Workflow(output).fit(nvt.Dataset(frame, cpu=True))


def saved_and_loaded(fitted_workflow: nvt.Workflow, path) -> nvt.Workflow:
    workflow.save(fitted_workflow, path)
    return workflow.load(path)


def one_value_each(keys: pd.Series, values: pd.Series) -> bool:
    return values.groupby(keys.astype(object).fillna("null")).nunique().max() == 1


OPERATORS = {
    "HashBucket": (
        ["shop", "brand"],
        lambda: HashBucket({"shop": 1000, "brand": 100}),
        {"shop": "shop", "brand": "brand"},
    ),
    "HashedCross": (["shop", "brand"], lambda: HashedCross(1000), {"shop_X_brand": "shop"}),
    "TargetEncoding": (
        ["shop", "brand"],
        lambda: TargetEncoding("clicked"),
        {"TE_shop_clicked": "shop", "TE_brand_clicked": "brand"},
    ),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_equal_values_get_equal_results_whatever_the_row(rows, name, tmp_path):
    columns, make, outputs = OPERATORS[name]
    made = fitted(columns >> make(), rows)
    whole = made.transform(rows)
    assert list(whole.columns) == list(outputs)
    for output, column in outputs.items():
        assert one_value_each(rows[column], whole[output])
        assert whole[output].nunique() > 5
    loaded = saved_and_loaded(made, tmp_path / "saved")
    order = np.random.default_rng(1).permutation(len(rows))
    shuffled = loaded.transform(rows.iloc[order].reset_index(drop=True))
    pd.testing.assert_frame_equal(shuffled, whole.iloc[order].reset_index(drop=True))
    alone = loaded.transform(rows.iloc[[17]].reset_index(drop=True))
    pd.testing.assert_frame_equal(alone, whole.iloc[[17]].reset_index(drop=True))


def test_nvtabulars_own_hash_is_what_this_one_replaces(rows):
    codes = fitted(["shop"] >> nvt.ops.HashBucket(1000), rows).transform(rows)["shop"]
    assert not one_value_each(rows["shop"], codes)


def test_codes_are_laid_out_as_categorifys(rows):
    made = fitted(["shop", "brand"] >> HashBucket(20), rows)
    codes = made.transform(rows)
    assert codes["shop"].min() >= FIRST_BUCKET
    assert codes.max().max() <= 21
    assert (codes["brand"] == NULL).equals(rows["brand"].isna())
    schema = made.output_schema["brand"]
    assert Tags.CATEGORICAL in schema.tags
    assert schema.properties["domain"] == {"min": 0, "max": 21}
    assert schema.properties["embedding_sizes"]["cardinality"] == 22
    assert schema.dtype.name == "int64"


def test_a_cross_depends_on_every_column_and_is_null_where_all_are():
    frame = pd.DataFrame({"a": pd.array([1, 1, 2, None, None], dtype="Int64"), "b": ["x", "y", "x", "x", None]})
    made = fitted([("a", "b")] >> HashedCross({"a_X_b": 10**6}), frame)
    codes = made.transform(frame)["a_X_b"].tolist()
    assert len(set(codes)) == 5
    assert codes[4] == NULL
    assert made.output_schema["a_X_b"].properties["embedding_sizes"]["cardinality"] == 10**6 + 2
    swapped = fitted([("b", "a")] >> HashedCross(10**6), frame).transform(frame)["b_X_a"]
    assert set(swapped[:3]).isdisjoint(codes[:3])


def test_several_crosses_of_one_column():
    frame = pd.DataFrame({"a": [1, 2], "b": [3, 4], "c": [5, 6]})
    codes = fitted([("a", "b"), ("a", "c")] >> HashedCross(100), frame).transform(frame)
    assert list(codes.columns) == ["a_X_b", "a_X_c"]


@given(st.lists(INT64, min_size=1, max_size=20))
def test_the_integer_hash_is_the_one_that_is_written_down(values):
    def defined(value: int) -> int:
        low, high = value % 2**31, value // 2**31
        return pow(low * 1_103_515_245 + high % PRIME * 1_664_525_011 + 1_013_904_223, 5, PRIME)

    assert hash_integers(np.array(values)).tolist() == [defined(value) for value in values]


@pytest.mark.parametrize("ids", [np.arange(100_000), np.arange(100_000) * 1024, 2**60 + np.arange(100_000) * 97])
def test_the_integer_hash_spreads_ids_that_follow_a_pattern(ids):
    counts = np.bincount(hash_integers(ids) % 1000, minlength=1000)
    # 100 ids a bucket, standard deviation 10 if they fell at random.
    assert counts.std() < 15
    assert counts.max() < 160


def test_values_hash_by_value_and_not_by_the_type_that_holds_them():
    whole = hash_series(pd.Series([1, 2, 0]))
    assert (hash_series(pd.Series([1.0, 2.0, np.nan])) == [*whole[:2], 0]).all()
    assert (hash_series(pd.Series([True, False])) == [whole[0], whole[2]]).all()
    times = pd.Series(pd.to_datetime([1, 2], unit="ns"))
    assert (hash_series(times) == whole[:2]).all()
    assert hash_series(pd.Series(["", "ø", None])).tolist()[2] == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (pd.Series([1.5], name="price"), r"'price' holds float64 numbers that are not whole.*bin the column"),
        (pd.Series([b"x"], name="id"), r"'id' holds b'x', a bytes, among objects"),
    ],
)
def test_what_has_no_stable_value_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        hash_series(values)


@pytest.mark.parametrize("number", [0, 1.5, "9", {"a": 0}])
def test_a_wrong_number_of_buckets_is_refused(number):
    for operator in (HashBucket, HashedCross):
        with pytest.raises(ValueError, match=r"num_buckets is .*whole number from 1"):
            operator(number)


def test_a_column_without_its_number_of_buckets_is_refused(rows):
    with pytest.raises(ValueError, match="num_buckets names brand but not 'shop'"):
        fitted(["shop"] >> HashBucket({"brand": 9}), rows)


def test_target_encoding_is_the_smoothed_mean(rows):
    made = fitted(["brand", ("shop", "brand")] >> TargetEncoding("clicked", p_smooth=5), rows)
    mean = rows["clicked"].mean()
    found = made.transform(rows)
    assert list(found.columns) == ["TE_brand_clicked", "TE_shop_brand_clicked"]
    clicked = rows["clicked"][rows["brand"] == "brand-3"]
    expected = (clicked.sum() + 5 * mean) / (len(clicked) + 5)
    np.testing.assert_allclose(found["TE_brand_clicked"][rows["brand"] == "brand-3"], expected, rtol=1e-6)
    np.testing.assert_allclose(found[rows["brand"].isna()], mean, rtol=1e-6)
    unseen = made.transform(rows.head(1).assign(brand="none"))
    np.testing.assert_allclose(unseen, mean, rtol=1e-6)
    schema = made.output_schema["TE_brand_clicked"]
    assert Tags.CONTINUOUS in schema.tags
    assert schema.dtype.name == "float32"


def test_target_encoding_needs_no_target_once_it_is_fitted(rows):
    made = fitted(["brand"] >> TargetEncoding("clicked"), rows)
    expected = made.transform(rows)
    made.remove_inputs(["clicked"])
    assert made.input_schema.column_names == ["brand"]
    pd.testing.assert_frame_equal(made.transform(rows[["brand"]]), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"target": ["a"]}, "the name of one column"), ({"target": "a", "p_smooth": 0}, "above 0")],
)
def test_wrong_arguments_of_target_encoding_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        TargetEncoding(**arguments)


@pytest.mark.parametrize("ascending", [True, False])
def test_groupby_keeps_the_order_of_rows_whose_times_are_equal(ascending):
    random = np.random.default_rng(0)
    frame = pd.DataFrame({"session": random.integers(0, 9, 5000), "time": random.integers(0, 3, 5000)})
    frame["item"] = np.arange(5000)

    def items(operator) -> pd.Series:
        grouped = ["item", "session", "time"] >> operator(
            groupby_cols="session", sort_cols="time", aggs={"item": ["list", "last"]}, ascending=ascending
        )
        return fitted(grouped, frame).transform(frame)

    result = items(Groupby)
    expected = frame.sort_values("time", kind="stable", ascending=ascending).groupby("session")["item"].agg(list)
    assert result["item_list"].map(list).tolist() == expected.tolist()
    assert items(nvt.ops.Groupby)["item_list"].map(list).tolist() != expected.tolist()


def test_groupby_without_a_sort_keeps_the_order_of_rows():
    frame = pd.DataFrame({"session": [1, 1, 2], "item": [3, 2, 1]})
    grouped = fitted(["item", "session"] >> Groupby(groupby_cols="session", aggs={"item": ["list"]}), frame)
    assert grouped.transform(frame)["item_list"].map(list).tolist() == [[3, 2], [1]]


def test_the_examples_of_the_documentation_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # Categorify writes ./categories
    page = (Path(__file__).parents[3] / "docs" / "workflows.md").read_text(encoding="utf-8")
    shape, replacements = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    names: dict = {}
    exec(shape + replacements, names)
    frame = pd.DataFrame(
        {
            "session_id": [1, 1, 2],
            "item_id": ["a", "b", "a"],
            "category": ["x", "x", "y"],
            "shop": [7, 8, 7],
            "page": [1, 2, 1],
            "price": [1.0, 2.0, 3.0],
            "clicked": [0, 1, 1],
            "timestamp": pd.to_datetime([1, 2, 3], unit="s"),
            "row_position": [0, 1, 2],
        }
    )
    made = names["workflow"].fit(nvt.Dataset(frame, cpu=True)).transform(frame)
    assert made["item_id_list"].map(list).tolist() == [[3, 4], [3]]
    replaced = fitted(names["shop"] + names["pair"] + names["clicked"], frame).transform(frame)
    assert set(replaced.columns) == {"shop", "shop_X_page", "TE_category_clicked"}
