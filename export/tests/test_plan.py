from __future__ import annotations

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from nextitem_bundle.names import is_reserved
from nextitem_bundle.runtime.features import TOP_K
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export import ExportError, ExportOptions, UnsupportedModel, UnsupportedWorkflow
from nextitem_export.retrieval.tensors import OUTPUTS, filter_tensors

KEYS = ["session_id", "timestamp"]


def refusal(kind, shop, workflow, frame, *args, **changes) -> str:
    with pytest.raises(kind) as caught:
        shop.plan_of(workflow, frame, *args, **changes)
    return str(caught.value)


def test_a_plan_is_worked_out_of_the_workflow_and_the_model(plan, shop):
    assert plan.item_feature == "item_id-list"
    assert [feature.name for feature in plan.features] == list(shop.TinyModel.feature_names)
    assert [feature.dtype for feature in plan.features] == ["int64", "int64", "float32"]
    assert [feature.tensor for feature in plan.features] == ["feature__0", "feature__1", "feature__2"]
    assert plan.signature.window == shop.WINDOW
    assert [feature.name for feature in plan.raw_features] == ["item_id", "category", "price", "timestamp"]
    options = ("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen")
    assert plan.signature.options == options
    assert plan.signature.max_filter_ids == 16_384


def test_the_sample_becomes_one_frame_a_session_with_its_id(plan, sample):
    assert len(plan.sessions) == sample["session_id"].nunique()
    assert list(plan.sessions[0].columns) == ["session_id", "item_id", "category", "price", "timestamp"]
    assert plan.sessions[1]["item_id"].tolist() == sample[sample["session_id"] == 1]["item_id"].tolist()


def test_popularity_is_the_log_of_the_share_of_interactions(plan, frame):
    counts = frame["item_id"].value_counts()
    assert (plan.log_popularity[:FIRST_ITEM] == np.float32(LOWEST_FLOAT32)).all()
    for code, value in enumerate(plan.vocabulary.values, FIRST_ITEM):
        assert plan.log_popularity[code] == pytest.approx(np.log(counts[value] / len(frame)), rel=1e-6)


def test_an_item_that_training_never_saw_is_behind_all_others(shop, frame, tmp_path):
    ids = ["never bought", *sorted(set(frame["item_id"]))]
    vocabulary = pd.DataFrame({"item_id": ids, "item_id_size": [0] + [5] * (len(ids) - 1)})
    vocabulary.to_parquet(tmp_path / "by hand.parquet")
    vocabs = {"item_id": str(tmp_path / "by hand.parquet")}
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path), vocabs=vocabs)
    workflow = _sessions_of(codes, frame)
    plan = shop.plan_of(workflow, frame, nn.Identity(), tie_breaker_column=None)
    assert plan.vocabulary.values[0] == "never bought"
    assert np.isfinite(plan.log_popularity).all()
    assert plan.log_popularity[FIRST_ITEM] < plan.log_popularity[FIRST_ITEM + 1 :].min()


def test_the_model_is_copied_to_evaluation_mode(shop, workflow, sample):
    model = shop.model_for(workflow).train()
    plan = shop.plan_of(workflow, sample, model)
    assert not plan.model.training
    assert model.training
    with torch.no_grad():
        model.items.weight.zero_()
    assert plan.model.items.weight.any()


def _sessions_of(codes, frame, aggs=None):
    grouped = codes + KEYS >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=["timestamp"], aggs=aggs or {"item_id": ["list"]}, name_sep="-"
    )
    names = [f"{name}-list" for name in aggs or {"item_id": 0}]
    workflow = nvt.Workflow(grouped[names] >> ops.ListSlice(-4))
    workflow.fit(nvt.Dataset(frame))
    return workflow


def test_a_missing_item_column_is_refused_with_those_that_are_there(shop, workflow, sample):
    message = refusal(UnsupportedWorkflow, shop, workflow, sample, item_column="sku")
    assert "no input 'sku', it reads item_id, category, price, timestamp, position, session_id" in message
    assert "as item_column" in message


def test_a_missing_tie_breaker_is_refused(shop, workflow, sample):
    message = refusal(UnsupportedWorkflow, shop, workflow, sample, tie_breaker_column="row")
    assert "no input 'row' to break ties in time with, it reads item_id" in message


@pytest.mark.parametrize(
    "taken",
    [
        *("session_length", "top_k", "exclude_item_ids", "allow_item_ids", "exclude_seen"),
        *("item_ids", "scores", "status", "top_k_checked", "codes__0", "scores__1", "status__2", "feature__7"),
    ],
)
def test_a_raw_column_with_the_name_of_a_bundle_s_tensor_is_refused(shop, frame, taken, tmp_path):
    frame = frame.rename(columns={"timestamp": taken})
    keys = ["session_id", taken]
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    grouped = codes + keys >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=[taken], aggs={"item_id": ["list"]}, name_sep="-"
    )
    workflow = nvt.Workflow(grouped["item_id-list"] >> ops.ListSlice(-4))
    workflow.fit(nvt.Dataset(frame))
    message = refusal(UnsupportedWorkflow, shop, workflow, frame, nn.Identity(), tie_breaker_column=None)
    assert f"the raw columns {taken} have names" in message
    assert "rename them before fitting" in message


def test_two_outputs_with_the_item_s_codes_need_a_choice(shop, frame, tmp_path):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    codes = codes + (codes >> ops.Rename(name="again"))
    workflow = _sessions_of(codes, frame, {"item_id": ["list"], "again": ["list"]})
    message = refusal(UnsupportedWorkflow, shop, workflow, frame, nn.Identity(), tie_breaker_column=None)
    assert "2 outputs of the workflow hold codes of 'item_id' (item_id-list, again-list)" in message
    assert "name it as item_feature" in message
    plan = shop.plan_of(workflow, frame, nn.Identity(), tie_breaker_column=None, item_feature="again-list")
    assert plan.item_feature == "again-list"


def test_an_item_column_that_is_not_encoded_is_refused(shop, workflow, sample):
    message = refusal(UnsupportedWorkflow, shop, workflow, sample, item_column="price")
    assert message == (
        "no list that the workflow returns holds codes of 'price': encode the column with ops.Categorify()"
    )


def test_an_item_feature_of_another_column_is_refused(shop, workflow, sample):
    message = refusal(UnsupportedWorkflow, shop, workflow, sample, item_feature="category-list")
    assert "'category-list' encodes the raw column 'category', not 'item_id'" in message
    assert "give the item_feature" in message


def test_features_that_the_workflow_does_not_return_are_refused(shop, workflow, sample):
    message = refusal(UnsupportedModel, shop, workflow, sample, features=["item_id-list", "brand-list"])
    assert "the model reads brand-list, which the workflow does not return as lists" in message
    assert "it returns item_id-list, category-list, price-list" in message


def test_a_model_without_the_items_is_refused(shop, workflow, sample):
    message = refusal(UnsupportedModel, shop, workflow, sample, features=["price-list"])
    assert "reads price-list but not 'item_id-list'" in message
    assert "name it among features" in message


def test_a_feature_of_strings_is_refused(shop, frame, tmp_path):
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    named = ["item_id"] >> ops.Rename(name="raw")
    workflow = _sessions_of(codes + named, frame, {"item_id": ["list"], "raw": ["list"]})
    message = refusal(
        UnsupportedWorkflow, shop, workflow, frame, nn.Identity(), tie_breaker_column=None, item_feature="item_id-list"
    )
    assert "output 'raw-list' is " in message
    assert "expected integers or floats: encode it with ops.Categorify() or leave it out of features" in message


def test_a_workflow_that_bounds_nothing_needs_a_window(shop, frame, sample, tmp_path):
    workflow = shop.fit(frame, tmp_path, window_slice=None)
    message = refusal(UnsupportedWorkflow, shop, workflow, sample)
    assert "nothing in the workflow bounds a session's length: add ops.ListSlice(-20)" in message
    assert shop.plan_of(workflow, sample, window=3).signature.window == 3


@pytest.mark.parametrize("window", [3, 5])
def test_a_window_that_is_not_the_workflow_s_is_refused(shop, workflow, sample, window):
    if window < shop.WINDOW:  # the step keeps the newest of what the workflow keeps
        assert shop.plan_of(workflow, sample, window=window).signature.window == window
        return
    message = refusal(UnsupportedWorkflow, shop, workflow, sample, window=window)
    assert "the window is 5 but the workflow keeps {'item_id-list': 4, 'category-list': 4, 'price-list': 4}" in message
    assert "slice all features of the model to one length" in message


def test_features_of_different_windows_are_refused(shop, frame, tmp_path):
    codes = ["item_id", "category"] >> ops.Categorify(out_path=str(tmp_path))
    grouped = codes + KEYS >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=["timestamp"],
        aggs={"item_id": ["list"], "category": ["list"]},
        name_sep="-",
    )
    workflow = nvt.Workflow(
        (grouped["item_id-list"] >> ops.ListSlice(-4)) + (grouped["category-list"] >> ops.ListSlice(-3))
    )
    workflow.fit(nvt.Dataset(frame))
    message = refusal(UnsupportedWorkflow, shop, workflow, frame, nn.Identity(), tie_breaker_column=None)
    assert "{'item_id-list': 4, 'category-list': 3}" in message


def test_a_limit_below_the_window_is_refused(shop, workflow, sample):
    message = refusal(ExportError, shop, workflow, sample, options=ExportOptions(max_interactions=3))
    assert "max_interactions is 3, below the window 4" in message
    assert "give 4 or more" in message


def test_sessions_of_the_sample_are_cut_to_what_a_request_may_hold(shop, workflow, sample):
    plan = shop.plan_of(workflow, sample, options=ExportOptions(max_interactions=5))
    assert max(map(len, plan.sessions)) == 5
    longest = sample["session_id"].value_counts().idxmax()
    newest = sample[sample["session_id"] == longest]["item_id"].tolist()[-5:]
    assert plan.sessions[sample["session_id"].unique().tolist().index(longest)]["item_id"].tolist() == newest


def test_a_sample_that_lacks_columns_is_refused(shop, workflow, sample):
    message = refusal(ExportError, shop, workflow, sample.drop(columns=["price", "session_id"]))
    assert "lacks the column(s) session_id, price" in message
    assert "it has item_id, timestamp, category, position" in message


def test_an_empty_sample_is_refused(shop, workflow, sample):
    message = refusal(ExportError, shop, workflow, sample.iloc[:0])
    assert "the sample is empty, expected raw interactions" in message


def test_raw_dtypes_can_be_pinned(shop, workflow, sample):
    plan = shop.plan_of(workflow, sample, raw_dtypes={"category": "float32"})
    assert plan.signature.feature("category").datatype == "FP32"
    assert plan.signature.feature("price").datatype == "FP32"


def test_all_tensors_that_steps_pass_on_have_reserved_names(plan):
    passed_on = {TOP_K, *OUTPUTS, *filter_tensors(plan.features), *(feature.tensor for feature in plan.features)}
    assert {name for name in passed_on if not is_reserved(name)} == set()
    assert not is_reserved("brand")
