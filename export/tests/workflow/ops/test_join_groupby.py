from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, asks_nvtabular, fit, interactions, lists, lower
from nextitem_export import UnsupportedWorkflow

FRAME = interactions(
    [4, 3, 2],
    item=["a", "a", "b", None, "b", "c", None, "a", "é"],
    shop=[1, 2, 1, 1, 1, 2, 1, 1, 2],
    price=np.array([1, 2, 3, np.nan, 5, 6, 7, 8, 9], dtype=np.float32),
    number=[5, 4, 3, 2, 1, 0, -1, -2, -3],
)
STATISTICS = ["count", "sum", "mean", "min", "max", "std", "var"]


def group_statistics(path: Any, groups: list[Any], stats: list[str], columns: list[str], **options: Any) -> Harness:
    selector = ColumnSelector(groups)
    operator = ops.JoinGroupby(cont_cols=columns, stats=stats, out_path=str(path), **options)
    names = ["_".join([group] if isinstance(group, str) else group) for group in groups]
    outputs = [f"{name}_count" for name in names if "count" in stats]
    outputs += [f"{name}_{column}_{s}" for name in names for column in columns for s in stats if s != "count"]
    return Harness(fit(lists(selector >> operator, outputs), FRAME))


@pytest.fixture(scope="module", params=["item", ("item", "shop")], ids=str)
def harness(request, tmp_path_factory) -> Harness:
    return group_statistics(tmp_path_factory.mktemp("stats"), [request.param], STATISTICS, ["price", "number"])


@asks_nvtabular
@given(
    keys=st.lists(
        st.sampled_from([("a", 1), ("a", 2), ("b", 1), ("c", 2), ("é", 2), (None, 1)]), min_size=9, max_size=9
    )
)
def test_keys_of_training_have_its_statistics(harness, keys):
    harness.check(FRAME.assign(item=[item for item, _ in keys], shop=[shop for _, shop in keys]))


def test_unseen_keys_are_null_but_for_statistics_of_floats(tmp_path):
    harness = group_statistics(tmp_path, ["item"], ["sum", "mean", "min"], ["price"])
    harness.check(FRAME.assign(item=["a", "x", "b", None, "", "c", None, "é", "A"]).replace({"item": {"": None}}))


def test_unseen_keys_were_counted_0_times(tmp_path):
    one = group_statistics(tmp_path / "one", ["item"], ["count"], ["price"])
    two = group_statistics(tmp_path / "two", [("item", "shop")], ["count"], ["price"])
    assert one.one(item=["a", "x", "b"]) == {"item_count_list": [3, 0, 2]}
    assert two.one(item=["a", "x", "b"], shop=[1, 1, 2]) == {"item_shop_count_list": [2, 0, 0]}


def test_statistics_of_integers_are_null_for_unseen_keys(tmp_path):
    operator = ops.JoinGroupby(cont_cols=["number"], stats=["sum", "max"], out_path=str(tmp_path))
    names = ["item_number_sum", "item_number_max"]
    scaled = ["item"] >> operator >> ops.Normalize(out_dtype=np.float32) >> ops.FillMissing(-9)
    harness = Harness(fit(lists(scaled, names), FRAME))
    harness.check(FRAME.assign(item=["a", "x", "b", None, "y", "c", None, "é", "A"]))
    assert harness.one(item=["x", "A"]) == {"item_number_sum_list": [-9, -9], "item_number_max_list": [-9, -9]}


def test_lists_are_refused(tmp_path):
    with pytest.raises(UnsupportedWorkflow, match=r"JoinGroupby on 'prices'.*join before the Groupby"):
        lower(ops.JoinGroupby(cont_cols=["number"], out_path=str(tmp_path)), ["prices"])
