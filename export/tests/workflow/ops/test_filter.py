from __future__ import annotations

import pytest
from nvtabular import ColumnSelector, ops

from export.tests.support.harness import Harness, fit, interactions, lists, split
from nextitem_export import UnsupportedWorkflow

FRAME = interactions([6, 1, 3], number=range(10))


def test_a_filter_on_sessions_drops_none():
    grouped = lists(ColumnSelector(["number"]), ["number"], aggs=["list", "count"], window=None)
    workflow = fit(grouped >> ops.Filter(lambda frame: frame["number_count"] >= 2), FRAME)
    assert len(workflow.transform(FRAME.copy())) == 2
    answers = Harness(workflow).answers(split(FRAME))
    assert answers["number_list"].tolist() == [[2, 3, 4, 5], [6, 0, 0, 0], [7, 8, 9, 0]]


def test_a_filter_on_interactions_is_refused():
    filtered = ColumnSelector(["number", "session_id", "timestamp", "position"]) >> ops.Filter(
        lambda frame: frame["number"] > 2
    )
    grouped = filtered >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=["timestamp", "position"], aggs={"number": ["list"]}
    )
    workflow = fit(grouped[["number_list"]], FRAME)
    with pytest.raises(UnsupportedWorkflow, match=r"Filter on '.*drops interactions.*filter the data before fitting"):
        Harness(workflow)
