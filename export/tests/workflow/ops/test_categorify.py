from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, asks_nvtabular, drawn, fit, interactions, lists
from nextitem_export import UnsupportedWorkflow

LIMITS = np.iinfo(np.int64)
STRINGS = st.none() | st.sampled_from(["a", "b", "c", "é", "😀", "unknown", "A", "a ", "a" * 300])
NUMBERS = st.none() | st.sampled_from([5, -7, 0, 1, 2**40, -(2**40), 6, 99])

FRAME = interactions(
    [4, 3, 2],
    item=["a", "a", "b", "b", "b", "c", "😀", "a", "é"],
    number=[5, 5, -7, 2**40, 5, 0, -7, 1, 2],
    shop=["x", None, "x", "y", "y", "x", None, "x", "y"],
)


def encoding(path: Any, names: Any = ("item", "number"), frame: pd.DataFrame = FRAME, **options: Any) -> Harness:
    """A Categorify of columns, by the harness; the outputs' names are those of its outputs."""
    selector = names if isinstance(names, ColumnSelector) else ColumnSelector([*names])
    operator = ops.Categorify(out_path=str(path), **options)
    return Harness(fit(lists(selector >> operator, list(operator.column_mapping(selector))), frame))


@pytest.fixture(scope="module")
def items(tmp_path_factory) -> Harness:
    return encoding(tmp_path_factory.mktemp("vocabulary"))


@asks_nvtabular
@given(frame=drawn(item=STRINGS, number=NUMBERS))
def test_values_have_nvtabulars_codes(items, frame):
    items.check(frame)


def test_null_and_unknown(items):
    assert items.one(item=[None, "x", "", "a"], number=[None, 99, LIMITS.min, 5]) == {
        "item_list": [1, 2, 1, 3],
        "number_list": [1, 2, 1, 3],
    }


@pytest.mark.parametrize(
    "options", [{"freq_threshold": 2}, {"max_size": 5}, {"dtype": "int32"}, {"num_buckets": 1}], ids=str
)
def test_options_that_change_the_vocabulary_or_the_dtype(tmp_path, options):
    encoding(tmp_path, **options).check(FRAME)


def test_a_vocabulary_that_was_given(tmp_path):
    given_vocabulary = {"item": pd.Series(["b", "z", "a"]), "number": pd.Series([7, 5])}
    harness = encoding(tmp_path, vocabs=given_vocabulary)
    harness.check(FRAME)
    assert harness.one(item=["b", "z", "a", "c"], number=[7, 5, 1, None]) == {
        "item_list": [3, 4, 5, 2],
        "number_list": [3, 4, 2, 1],
    }


# Several columns.


@asks_nvtabular
@given(frame=drawn(item=STRINGS, shop=STRINGS | st.sampled_from(["x", "y"])))
def test_columns_with_one_vocabulary(joint, frame):
    joint.check(frame)


@pytest.fixture(scope="module")
def joint(tmp_path_factory) -> Harness:
    return encoding(tmp_path_factory.mktemp("joint"), ColumnSelector([("item", "shop")]))


@pytest.fixture(scope="module")
def combined(tmp_path_factory) -> Harness:
    selector = ColumnSelector([("item", "shop"), ("item", "number", "shop"), "item"])
    return encoding(tmp_path_factory.mktemp("combined"), selector, encode_type="combo")


@asks_nvtabular
@given(
    item=st.lists(STRINGS, min_size=9, max_size=9),
    shop=st.lists(st.none() | st.sampled_from(["x", "y", "z"]), min_size=9, max_size=9),
    number=st.lists(st.sampled_from([5, -7, 0, 2**40, 3]), min_size=9, max_size=9),
)
def test_combinations_of_columns(combined, item, shop, number):
    frame = FRAME.assign(item=item, shop=shop, number=number)
    frame.loc[0, ["item", "shop"]] = ["a", "x"]  # NVTabular raises on columns without any value
    combined.check(frame)


def test_a_combination_with_null_is_a_value_like_others(combined):
    found = combined.one(item=["a", "😀", "b", None], shop=[None, None, None, None], number=[5, -7, 99, None])
    known = {tuple(key): code for code, key in enumerate([("a", "x"), ("b", "y")], 3)}
    assert len(known) == 2
    assert found["item_shop_list"][0] > 2  # ('a', null) was seen
    assert found["item_shop_list"][1] > 2
    assert found["item_shop_list"][2] == 2  # ('b', null) was not
    assert found["item_shop_list"][3] == 1
    assert found["item_number_shop_list"][2:] == [2, 1]


def test_combinations_beyond_what_an_integer_can_count_are_refused(tmp_path):
    rows = 6_000
    names = [f"c{number}" for number in range(6)]
    frame = interactions([rows], **{name: np.arange(rows) for name in names})
    with pytest.raises(UnsupportedWorkflow, match=r"Categorify on 'c0', .*5e\+22 combinations.*combine fewer columns"):
        encoding(tmp_path, ColumnSelector([tuple(names)]), frame, encode_type="combo")


# Lists.


def test_lists_after_the_groupby_give_null_the_code_of_the_unknown(tmp_path):
    grouped = lists(ColumnSelector(["item", "number"]), ["item", "number"])
    harness = Harness(fit(grouped >> ops.Categorify(out_path=str(tmp_path)), FRAME))
    harness.check(FRAME.assign(item=["a", "zz", None, "b", "c", "a", "é", "é", None]))
    assert harness.one(item=[None, "a", "x"], number=[None, 5, 4])["item_list"] == [2, 3, 2]


# Vocabularies of integers.


@pytest.mark.parametrize(
    "numbers",
    [
        [LIMITS.min + 1, LIMITS.max, 0, LIMITS.max - 1],
        [LIMITS.max, LIMITS.max - 1, LIMITS.max - 2],
        [LIMITS.min + 1, LIMITS.min + 2],
        [5],
        [-3, -2, -1, 0, 1],
    ],
    ids=str,
)
def test_integers_up_to_the_limits(tmp_path, numbers):
    frame = interactions([len(numbers)] * 2, number=numbers * 2)
    harness = encoding(tmp_path, ["number"], frame)
    harness.check(frame)
    near = [n + step for n in numbers for step in (-1, 1) if LIMITS.min < n + step <= LIMITS.max]
    for asked in near:
        expected = 2 if asked not in numbers else harness.one(number=[asked])["number_list"][0]
        assert harness.one(number=[asked, None, LIMITS.min]) == {"number_list": [expected, 1, 1]}


def test_integers_with_null_at_fit_are_floats_in_the_vocabulary(tmp_path):
    frame = interactions([4], number=[5, None, 2.0**53, 5])
    operator = ops.Categorify(out_path=str(tmp_path))
    workflow = fit(lists(["number"] >> operator, ["number"]), frame)
    harness = Harness(workflow, raw_dtypes={"number": "int64"})
    assert harness.one(number=[5, None, 2**53, 6]) == {"number_list": [3, 1, 4, 2]}
    assert harness.one(number=[2**53 + 1, LIMITS.max, LIMITS.min + 1]) == {"number_list": [2, 2, 2]}


def test_pandas_nullable_integers(tmp_path):
    frame = interactions([4], number=pd.array([5, None, 2**60 + 1, 5], dtype="Int64"))
    harness = encoding(tmp_path, ["number"], frame)
    assert harness.one(number=[5, None, 2**60 + 1, 2**60]) == {"number_list": [3, 1, 4, 2]}


def test_unsigned_integers(tmp_path):
    frame = interactions([3], number=np.array([2**63 + 5, 7, 7], dtype=np.uint64))
    harness = encoding(tmp_path, ["number"], frame)
    assert harness.one(number=[7, -(2**63) + 5, None]) == {"number_list": [3, 2, 1]}


def test_truth_values(tmp_path):
    frame = interactions([3], number=[True, False, True])
    harness = encoding(tmp_path, ["number"], frame)
    harness.check(frame)
    assert harness.one(number=[True, False, None]) == {"number_list": [3, 4, 1]}


def test_truth_values_with_null_at_fit(tmp_path):
    frame = interactions([4], number=pd.Series([True, False, None, True], dtype=object))
    workflow = fit(lists(["number"] >> ops.Categorify(out_path=str(tmp_path)), ["number"]), frame)
    harness = Harness(workflow, raw_dtypes={"number": "bool"})
    assert harness.one(number=[True, False, None]) == {"number_list": [3, 4, 1]}


def test_an_empty_vocabulary_knows_nothing(tmp_path):
    harness = encoding(tmp_path, freq_threshold=100)
    harness.check(FRAME)
    assert harness.one(item=["a", None], number=[5, None]) == {"item_list": [2, 1], "number_list": [2, 1]}


# Refused.


def test_float_numbers_are_refused(tmp_path):
    frame = interactions([3], number=[0.5, 1.5, 0.5])
    with pytest.raises(UnsupportedWorkflow, match=r"Categorify on 'number'.*float64 numbers, whose equality depends"):
        encoding(tmp_path, ["number"], frame)


@pytest.mark.parametrize(("null", "shown"), [("", "''"), (int(LIMITS.min), "-9223372036854775808")])
def test_a_vocabulary_that_holds_a_requests_null_is_refused(tmp_path, null, shown):
    frame = interactions([3], number=[null, null, type(null)(7)])
    with pytest.raises(
        UnsupportedWorkflow, match=rf"Categorify on 'number'.*holds {shown}, which means null in a request"
    ):
        encoding(tmp_path, ["number"], frame)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"num_buckets": 3, "max_size": 6},
            "num_buckets hashes the value together with its row.*fit it without num_buckets",
        ),
        ({"single_table": True}, "single_table NVTabular gives null and unknown values the codes of.*fit it without"),
        ({"vocabs": {"item": pd.Series(["a", "b", "a"])}}, "its table holds a more than once"),
        ({"vocabs": {"item": pd.Series([1, 2])}}, "its vocabulary holds 1, a int, but the column has strings"),
    ],
    ids=["num_buckets", "single_table", "duplicates", "types"],
)
def test_options_that_are_refused(tmp_path, options, message):
    with pytest.raises(UnsupportedWorkflow, match=rf"Categorify on 'item'.*{message}"):
        _compile_item(tmp_path, options)


def _compile_item(path: Any, options: dict[str, Any]) -> Harness:
    operator = ops.Categorify(out_path=str(path), **({} if "vocabs" in options else options))
    workflow = fit(lists(["item"] >> operator, ["item"]), FRAME)
    if "vocabs" in options:  # NVTabular fails to fit with these
        operator.categories = operator.process_vocabs(options["vocabs"])
    return Harness(workflow)


def test_strings_where_the_column_has_integers_are_refused(tmp_path):
    operator = ops.Categorify(out_path=str(tmp_path))
    workflow = fit(lists(["number"] >> operator, ["number"]), FRAME)
    operator.categories = operator.process_vocabs({"number": pd.Series(["5", "7"])})
    with pytest.raises(
        UnsupportedWorkflow, match=r"Categorify on 'number'.*holds strings but the column is int64: fit"
    ):
        Harness(workflow)
