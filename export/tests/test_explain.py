from __future__ import annotations

import nvtabular as nvt
import pytest
from nvtabular import ops

from nextitem_export import Explained, Refused, UnsupportedWorkflow, explain_workflow

KEYS = ["session_id", "timestamp", "position"]


@pytest.fixture
def made(frame, tmp_path):
    """A workflow of these interaction-level nodes, by name."""

    def make(window=(-4,), table=frame, item="item_id", **nodes):
        columns = [item] >> ops.Categorify(out_path=str(tmp_path))
        for node in nodes.values():
            columns = columns + node
        grouped = columns + KEYS >> ops.Groupby(
            groupby_cols=["session_id"],
            sort_cols=KEYS[1:],
            aggs={name: ["list"] for name in (item, *nodes)},
            name_sep="-",
        )
        workflow = nvt.Workflow(grouped[[f"{name}-list" for name in (item, *nodes)]] >> ops.ListSlice(*window))
        workflow.fit(nvt.Dataset(table))
        return workflow

    return make


def refusals(rows) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for row in rows:
        if isinstance(row, Refused):
            assert isinstance(row.reason, UnsupportedWorkflow)
            found.setdefault(row.column, []).append(str(row.reason))
    return found


def test_each_feature_is_told_with_its_operators(workflow):
    rows = explain_workflow(workflow, tie_breaker_column="position")
    assert all(isinstance(row, Explained) for row in rows)
    assert {row.column: row.raw for row in rows} == {
        "item_id-list": "item_id",
        "category-list": "category",
        "price-list": "price",
    }
    assert rows[2].operators == ("LogOp", "Normalize", "FillMissing", "Groupby", "ListSlice")


def test_all_refusals_come_at_once(made, frame):
    workflow = made(
        table=frame.assign(status=1),
        hashed=["category"] >> ops.HashBucket(10) >> ops.Rename(name="hashed"),
        folded=["price"] >> ops.LambdaOp(lambda column: column - column.min()) >> ops.Rename(name="folded"),
        brand=["item_id"] >> ops.Rename(name="brand"),
        place=["position"] >> ops.Rename(name="place"),
        status=["status"],
        category=["category"] >> ops.Categorify(),
    )
    rows = explain_workflow(workflow, tie_breaker_column="position", item_column="sku")
    found = refusals(rows)
    assert set(found) == {"sku", "status", "hashed-list", "folded-list", "brand-list", "place-list"}
    for column, part in {
        "sku": "no input 'sku', it reads ",
        "status": "rename them before fitting",
        "hashed-list": "HashBucket on 'category' cannot be compiled",
        "folded-list": "Series.min depends on the other rows",
        "brand-list": "expected integers or floats",
        "place-list": "made from the tie-breaker column 'position'",
    }.items():
        assert part in " ".join(found[column]), column
    assert {row.column for row in rows if isinstance(row, Explained)} == {
        "item_id-list",
        "status-list",
        "category-list",
    }


def test_the_item_column_s_own_refusals_are_told(made, frame):
    workflow = made(table=frame.assign(item_id=frame["item_id"].replace("ø1", "")))
    assert "holds '', which means null in a request" in refusals(explain_workflow(workflow))["item_id"][0]
    (sentence,) = refusals(explain_workflow(workflow, item_column="timestamp"))["timestamp"]
    assert sentence.startswith("0 outputs of the workflow hold codes of 'timestamp'")


def test_features_and_their_window_are_those_of_an_export(made):
    workflow = made(window=(0, 4))
    (sentence,) = refusals(explain_workflow(workflow, tie_breaker_column="position"))["item_id-list"]
    assert "ListSlice(0, 4) on 'item_id-list' does not keep the newest" in sentence
    kept = explain_workflow(workflow, tie_breaker_column="position", keep_workflow_window=True)
    assert refusals(kept) == {}
    (sentence,) = refusals(explain_workflow(workflow, features=["colour"]))["colour"]
    assert sentence == "the workflow does not return 'colour' as lists, it returns item_id-list"


def test_a_feature_made_from_the_session_column_is_told(made):
    workflow = made(owner=["session_id"] >> ops.Rename(name="owner"))
    (sentence,) = refusals(explain_workflow(workflow, tie_breaker_column="position"))["owner-list"]
    assert "is made from the session column 'session_id', which no request carries" in sentence


def test_a_workflow_without_sessions_cannot_be_explained(frame, tmp_path):
    workflow = nvt.Workflow(["item_id"] >> ops.Categorify(out_path=str(tmp_path)))
    with pytest.raises(UnsupportedWorkflow, match="never fitted"):
        explain_workflow(workflow)
    workflow.fit(nvt.Dataset(frame))
    with pytest.raises(UnsupportedWorkflow, match="groups by nothing"):
        explain_workflow(workflow)
