"""What cannot be compiled stops the export: the sentence names operator, column and remedy, and nothing is written."""

from __future__ import annotations

import numpy as np
import nvtabular as nvt
import pytest
from nvtabular import ops

from nextitem_export import ExportOptions, UnsupportedWorkflow, export_bundle


class Doubtful(ops.Operator):
    """An operator of one's own that looks at all rows."""

    def transform(self, col_selector, df):
        for name in col_selector.names:
            df[name] = df[name] / df[name].max()
        return df


def _encoded(folder):
    encoding = ops.TargetEncoding("price", kfold=3, p_smooth=20, out_path=folder)
    return ["category"] >> encoding >> ops.Rename(name="category")


REFUSED = {
    "stock HashBucket": (
        lambda folder: ["category"] >> ops.HashBucket(100),
        ["HashBucket on 'category'", "equal values", "Categorify"],
    ),
    "folds": (
        lambda folder: _encoded(folder),
        ["TargetEncoding on 'category'", "folds", "kfold=1"],
    ),
    "first day": (
        lambda folder: (
            ["timestamp"] >> ops.LambdaOp(lambda col: (col - col.min()).dt.days + 1) >> ops.Rename(name="category")
        ),
        ["LambdaOp on 'timestamp'", "Series.min depends on the other rows", "write the number into the function"],
    ),
    "branch": (
        lambda folder: ["category"] >> ops.LambdaOp(lambda col: col if (col > 0).all() else -col),
        ["LambdaOp on 'category'", "Series.all depends on the other rows"],
    ),
    "row by row": (
        lambda folder: ["category"] >> ops.LambdaOp(lambda col: col.apply(lambda value: value + 1)),
        ["LambdaOp on 'category'", "one by one", "arithmetic on the whole column"],
    ),
    "random": (
        lambda folder: ["category"] >> ops.LambdaOp(lambda col: col + np.random.rand(len(col))),
        ["LambdaOp on 'category'", "number of rows"],
    ),
    "text": (
        lambda folder: ["category"] >> ops.LambdaOp(lambda col: col.astype(str).str.len()),
        ["LambdaOp on 'category'", "astype('str')", "send the column"],
    ),
    "an operator of one's own": (
        lambda folder: ["category"] >> Doubtful(),
        ["Doubtful on 'category'", "Series.max depends on the other rows", "compute it in training"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_the_export_stops_and_writes_nothing(case, frame, shop, tmp_path):
    make, parts = REFUSED[case]
    item = ["item_id"] >> ops.Categorify(out_path=str(tmp_path / "vocabularies"))
    columns = item + make(str(tmp_path / "statistics")) + ["price", "timestamp", "session_id", "position"]
    names = ("item_id", "category", "price")
    grouped = columns >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=["timestamp", "position"],
        aggs={name: ["list"] for name in names},
        name_sep="-",
    )
    workflow = nvt.Workflow(grouped["item_id-list", "category-list", "price-list"] >> ops.ListSlice(-shop.WINDOW))
    workflow.fit(nvt.Dataset(frame.copy(), cpu=True))
    (tmp_path / "repository").mkdir()
    before = set(tmp_path.rglob("*"))
    with pytest.raises(UnsupportedWorkflow) as caught:
        export_bundle(
            shop.TinyModel(64, 200),
            workflow,
            frame[frame.session_id < 4],
            repository=tmp_path / "repository",
            name="shop",
            tie_breaker_column="position",
            options=ExportOptions(),
        )
    for part in parts:
        assert part in str(caught.value)
    assert set(tmp_path.rglob("*")) == before
