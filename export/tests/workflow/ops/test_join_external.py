from __future__ import annotations

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ops

from export.tests.support.harness import Harness, asks_nvtabular, fit, interactions, lists, lower
from nextitem_export import UnsupportedWorkflow
from nextitem_export.workflow.expressions import Column

FRAME = interactions([4, 3, 2], item=list("aabcbaacb"), shop=[1, 2, 1, 1, 1, 2, 1, 1, 2])
ITEMS = pd.DataFrame(
    {
        "item": ["a", "b", "c", None],
        "brand": ["x", None, "y", "x"],
        "stock": [5, 2**60 + 1, -7, 0],
        "weight": [1.5, np.nan, 3, 4],
        "new": [True, False, True, True],
        "since": pd.to_datetime(["2020-01-01", None, "2021-06-05", "2022-01-01"]),
    }
)
KEYS = st.sampled_from(["a", "b", "c", None])


def test_columns_of_the_table_can_be_features_and_be_encoded(tmp_path):
    joined = ["item"] >> ops.JoinExternal(ITEMS, on="item")
    codes = joined[["brand", "stock"]] >> ops.Categorify(out_path=str(tmp_path))
    weekday = joined[["since"]] >> ops.LambdaOp(lambda column: column.dt.weekday, dtype="float64")
    filled = joined[["weight"]] >> ops.FillMissing(-1)
    names = ["brand", "stock", "weight", "since"]
    harness = Harness(fit(lists(codes + weekday + filled, names), FRAME))
    harness.check(FRAME)
    known = harness.one(item=["a", "b", "c", None])
    unseen = harness.one(item=["x"])
    assert known["brand_list"][1] == unseen["brand_list"][0] == 1
    assert unseen["stock_list"] == [1]
    assert unseen["weight_list"] == [-1]
    assert len(set(known["stock_list"])) == 4


@asks_nvtabular
@given(keys=st.lists(KEYS, min_size=9, max_size=9))
def test_rows_are_found_by_their_key_null_too(weights, keys):
    weights.check(FRAME.assign(item=keys))


@pytest.fixture(scope="module")
def weights() -> Harness:
    joined = ["item", "shop"] >> ops.JoinExternal(ITEMS[["item", "weight"]], on="item")
    return Harness(fit(lists(joined, ["weight", "shop"]), FRAME))


@pytest.mark.parametrize("items", [["a", "x", "b", None, "c", "y", "a", "b", "c"], ["x"] * 9])
def test_unknown_keys_are_null(weights, items):
    weights.check(FRAME.assign(item=items))


def test_several_keys_under_other_names():
    table = pd.DataFrame({"k1": ["a", "b", "a"], "k2": [1, 1, 2], "more": [0.5, 1.5, 2.5], "left": [1, 2, 3]})
    operator = ops.JoinExternal(table, on=["item", "shop"], on_ext=["k1", "k2"], columns_ext=["k1", "k2", "more"])
    harness = Harness(fit(lists(["item", "shop"] >> operator, ["more"]), FRAME))
    harness.check(FRAME)
    harness.check(FRAME.assign(item=["a", "b", "x", None, "a", "b", "a", "a", "a"], shop=[2, 2, 1, 1, 1, 1, 7, 2, 1]))


def test_duplicates_that_are_dropped():
    table = pd.DataFrame({"item": ["a", "b", "a"], "weight": [1.0, 2.0, 1.0]})
    operator = ops.JoinExternal(table, on="item", drop_duplicates_ext=True)
    Harness(fit(lists(["item"] >> operator, ["weight"]), FRAME)).check(FRAME)


@pytest.mark.parametrize(
    ("table", "options", "message"),
    [
        (
            pd.DataFrame({"item": ["a", "a"], "weight": [1.0, 2.0]}),
            {},
            "its table holds a more than once: keep one row",
        ),
        (ITEMS[["item", "weight"]], {"how": "inner"}, "how='inner' drops interactions.*join with how='left'"),
    ],
    ids=["duplicates", "inner"],
)
def test_refused(table, options, message):
    with pytest.raises(UnsupportedWorkflow, match=rf"JoinExternal on '(item|weight)'.*{message}"):
        lower(ops.JoinExternal(table, on="item", **options), ["item"], level="interaction", dtype="string")


@pytest.mark.parametrize(
    ("column", "message"),
    [
        ({"tags": [[1], [2], [3, 4], []]}, "JoinExternal on 'tags'.*object values that are neither numbers, strings"),
        ({"shop": 1}, "JoinExternal on 'shop'.*both tables have the column.*rename one"),
    ],
    ids=["lists", "a column of both"],
)
def test_a_column_that_cannot_be_joined_is_refused_and_no_other(column, message):
    operator = ops.JoinExternal(ITEMS[["item", "weight"]].assign(**column), on="item")
    found = lower(operator, ["item", "shop"], level="interaction", dtype="string")
    (name,) = column
    assert isinstance(found[name], UnsupportedWorkflow)
    assert re.search(message, str(found[name]))
    assert {other for other in found if isinstance(found[other], Column)} == {"item", "shop", "weight"} - {name}


def test_a_joined_list_that_no_feature_reads_stops_nothing(tmp_path):
    table = ITEMS[["item", "weight"]].assign(tags=[["x"], ["y", "z"], [], ["x"]])
    joined = ["item"] >> ops.JoinExternal(table, on="item")
    codes = joined[["item"]] >> ops.Categorify(out_path=str(tmp_path))
    names = ["item", "weight"]
    harness = Harness(fit(lists(codes + joined[["weight"]], names), FRAME))
    harness.check(FRAME)
    workflow = fit(lists(codes + joined[["weight", "tags"]], [*names, "tags"], window=None), FRAME)
    Harness(workflow, outputs=["item_list", "weight_list"])
    with pytest.raises(UnsupportedWorkflow, match=r"JoinExternal on 'tags'.*leave the column out with columns_ext"):
        Harness(workflow, outputs=["tags_list"])


def test_a_key_that_is_not_selected_is_refused():
    operator = ops.JoinExternal(ITEMS[["item", "weight"]], on="item")
    with pytest.raises(UnsupportedWorkflow, match=r"JoinExternal on 'item'.*not given: select it as well"):
        lower(operator, ["shop"], level="interaction")


def test_lists_are_refused():
    with pytest.raises(UnsupportedWorkflow, match=r"JoinExternal on 'item'.*join before the Groupby"):
        lower(ops.JoinExternal(ITEMS[["item", "weight"]], on="item"), ["item"], dtype="string")


def test_a_refused_join_names_its_operator(tmp_path):
    table = pd.DataFrame({"item": ["a", "b", "c"], "weight": [1.0, 2.0, 3.0]})
    workflow = fit(lists(["item"] >> ops.JoinExternal(table, on="item", how="inner"), ["weight"]), FRAME)
    with pytest.raises(UnsupportedWorkflow, match=r"JoinExternal on 'item'.*how='inner' drops interactions"):
        Harness(workflow)
