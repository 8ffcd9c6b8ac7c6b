from __future__ import annotations

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
    bought=[1, 0, 1, 1, 0, 0, 1, 0, 1],
    price=np.array([1, 2, 3, 4, 5, 6, 7, 8, 9], dtype=np.float32),
)
OUTPUTS = ["TE_item_bought", "TE_item_price", "TE_item_shop_bought", "TE_item_shop_price"]


@pytest.fixture(scope="module")
def harness(tmp_path_factory) -> Harness:
    folder = str(tmp_path_factory.mktemp("stats"))
    operator = ops.TargetEncoding(["bought", "price"], kfold=1, p_smooth=2, out_path=folder)
    return Harness(fit(lists(ColumnSelector(["item", ("item", "shop")]) >> operator, OUTPUTS), FRAME))


@asks_nvtabular
@given(
    item=st.lists(st.sampled_from(["a", "b", "c", "é", "unseen", None]), min_size=9, max_size=9),
    shop=st.lists(st.sampled_from([1, 2, 3]), min_size=9, max_size=9),
)
def test_values_equal_nvtabulars(harness, item, shop):
    harness.check(FRAME.assign(item=item, shop=shop))


def test_float64(tmp_path):
    operator = ops.TargetEncoding("bought", kfold=1, out_dtype="float64", out_path=str(tmp_path))
    harness = Harness(fit(lists(["shop"] >> operator, ["TE_shop_bought"]), FRAME))
    harness.check(FRAME.assign(shop=[1, 2, 3, 4, 1, 2, 1, 1, 1]))


def test_folds_are_refused(tmp_path):
    operator = ops.TargetEncoding("bought", kfold=3, out_path=str(tmp_path))
    workflow = fit(lists(["shop"] >> operator, ["TE_shop_bought"]), FRAME)
    with pytest.raises(
        UnsupportedWorkflow, match=r"TargetEncoding on 'shop'.*kfold=3.*row position.*fit it with kfold=1"
    ):
        Harness(workflow)


def test_lists_are_refused(tmp_path):
    with pytest.raises(UnsupportedWorkflow, match=r"TargetEncoding on 'prices'.*encode before the Groupby"):
        lower(ops.TargetEncoding("price", kfold=1, out_path=str(tmp_path)), ["prices"])
