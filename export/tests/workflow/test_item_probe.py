from __future__ import annotations

import numpy as np
import nvtabular as nvt
import pytest
from nvtabular import ops

from export.tests.support.items_shop import KEYS, clicks, fit
from nextitem_export import UnsupportedWorkflow
from nextitem_export.workflow import item_probe
from nextitem_export.workflow.fitted import FittedWorkflow
from nextitem_export.workflow.item_probe import ItemProbe

MANY = np.arange(2_500) * 7 + 11


def probe_of(workflow, frame, dtype="int64", tie_breaker="position") -> ItemProbe:
    return ItemProbe(FittedWorkflow(workflow), "item_id", "item_id-list", dtype, frame, tie_breaker)


@pytest.fixture(scope="module")
def frame():
    return clicks(MANY, sessions=1_000)


@pytest.fixture(scope="module")
def workflow(frame, tmp_path_factory):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path_factory.mktemp("c"))) >> ops.LambdaOp(lambda c: c + 1)
    return fit(codes, frame)


def test_every_id_has_the_value_that_nvtabular_gives_it(workflow, frame, monkeypatch):
    probe = probe_of(workflow, frame)
    values = probe.values(MANY)
    monkeypatch.setattr(item_probe, "ALONE", 100)
    monkeypatch.setattr(item_probe, "PACKED", 4)  # the workflow keeps no more
    asked = []
    monkeypatch.setattr(
        ItemProbe,
        "_asked",
        lambda self, ids, length, rows, real=ItemProbe._asked: asked.append(length) or real(self, ids, length, rows),
    )
    other = probe_of(workflow, frame)
    assert np.array_equal(other.values(MANY), values)
    assert asked == [1, 1, 4]  # sessions of several ids were right at once
    assert np.array_equal(other.values(MANY.copy()), values)
    assert asked == [1, 1, 4]  # the same ids are asked once
    assert sorted(values[values != probe.unknown()]) == list(range(4, 4 + frame["item_id"].nunique()))
    assert (probe.unknown(), probe.null(int(frame["item_id"][0]))) == (3, 2)


def test_where_packed_sessions_come_back_short_each_id_is_asked_alone(workflow, frame, monkeypatch):
    monkeypatch.setattr(item_probe, "ALONE", 100)
    asked = []
    monkeypatch.setattr(
        ItemProbe,
        "_asked",
        lambda self, ids, length, rows, real=ItemProbe._asked: asked.append(length) or real(self, ids, length, rows),
    )
    probe_of(workflow, frame).values(MANY[:300])
    assert asked == [1, 1, item_probe.PACKED, 1]  # the window is 4


def test_a_filter_on_sessions_takes_no_answer_away(frame, tmp_path):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    grouped = codes + KEYS >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=KEYS[1:], aggs={"item_id": ["list", "count"]}, name_sep="-"
    )
    workflow = nvt.Workflow(grouped >> ops.Filter(f=lambda table: table["item_id-count"] >= 2))
    workflow.fit(nvt.Dataset(frame))
    assert (probe_of(workflow, frame).values(MANY[:5]) >= 2).all()


def test_lists_that_the_workflow_pads_and_short_sessions_that_it_drops_are_no_hindrance(frame, tmp_path):
    class DropShort(ops.Operator):
        def transform(self, col_selector, df):
            return df[df["item_id-count"] >= 2].reset_index(drop=True)

    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    grouped = codes + KEYS >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=KEYS[1:], aggs={"item_id": ["list", "count"]}, name_sep="-"
    )
    padded = grouped["item_id-list"] >> ops.ListSlice(-6, pad=True)
    kept = grouped["item_id-list", "item_id-count"] >> DropShort()
    for output in (padded, kept):
        workflow = nvt.Workflow(output)
        workflow.fit(nvt.Dataset(frame))
        probe = probe_of(workflow, frame)
        assert len(set(probe.values(frame["item_id"].unique()))) == frame["item_id"].nunique()
        assert probe.unknown() == 2


def test_a_sample_that_nvtabular_cannot_read_is_refused(workflow, frame):
    with pytest.raises(UnsupportedWorkflow) as caught:
        probe_of(workflow, frame.assign(timestamp="yesterday").drop(columns="position"), tie_breaker=None).values(
            MANY[:2]
        )
    assert "NVTabular cannot compute 'item_id-list' of the item 11 beside a row of the sample: " in str(caught.value)
    assert "Give a sample of raw interactions as they were in training" in str(caught.value)


def test_a_workflow_that_drops_interactions_is_refused(frame, tmp_path):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    kept = codes + KEYS >> ops.Filter(f=lambda table: table["item_id"] > 5)
    grouped = kept >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=KEYS[1:], aggs={"item_id": ["list"]}, name_sep="-"
    )
    workflow = nvt.Workflow(grouped)
    workflow.fit(nvt.Dataset(frame))
    with pytest.raises(UnsupportedWorkflow) as caught:
        probe_of(workflow, frame).values(frame["item_id"].unique())
    assert f"values in 'item_id-list' for {frame['item_id'].nunique()} interactions" in str(caught.value)
    assert "take out what drops interactions" in str(caught.value)
