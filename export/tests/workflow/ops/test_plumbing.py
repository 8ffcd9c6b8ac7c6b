from __future__ import annotations

import pytest
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, fit, interactions, lists

FRAME = interactions([6, 1, 3], number=range(10), other=range(10, 20), flat=1)


@pytest.mark.parametrize(
    "make",
    [
        lambda: ops.AddMetadata(tags=["item"]),
        lambda: ops.AddTags(["item"]),
        lambda: ops.AddProperties({"a": 1}),
        ops.TagAsItemID,
        ops.ReduceDtypeSize,
    ],
)
def test_what_changes_no_value(make):
    Harness(fit(lists(["number", "other"] >> make(), ["number", "other"]), FRAME)).check(FRAME)


def test_lists_are_counted():
    grouped = lists(ColumnSelector(["number"]), ["number"]) >> ops.ValueCount()
    Harness(fit(grouped, FRAME)).check(FRAME)


def test_columns_are_added_and_selected():
    doubled = ["other"] >> ops.LambdaOp(lambda column: column * 2) >> ops.Rename(name="double")
    columns = (ColumnSelector(["number", "other"]) >> ops.AddTags(["x"])) + doubled
    Harness(fit(lists(columns, ["number", "other", "double"]), FRAME)).check(FRAME)
    one = (ColumnSelector(["number", "other"]) >> ops.AddTags(["x"]))["other"]
    Harness(fit(lists(one, ["other"]), FRAME)).check(FRAME)


def test_columns_of_high_cardinality_are_kept(tmp_path):
    codes = ["number", "flat"] >> ops.Categorify(out_path=str(tmp_path)) >> ops.DropLowCardinality(min_cardinality=2)
    Harness(fit(lists(codes, ["number", "flat"]), FRAME)).check(FRAME)
