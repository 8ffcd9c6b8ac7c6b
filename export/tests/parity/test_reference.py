from __future__ import annotations

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32
from nextitem_export.parity.reference import DROPPED, EMPTY, TIED


@pytest.fixture(scope="module")
def reference(shop, plan):
    return shop.reference_of(plan)


def test_sessions_are_encoded_by_the_workflow_itself(reference, plan, workflow, sample):
    table = workflow.transform(sample.reset_index(drop=True))
    encoded = reference.encode(plan.sessions).encoded
    assert list(encoded) == list(range(len(plan.sessions)))
    for row, features in encoded.items():
        for name, values in features.items():
            np.testing.assert_array_equal(values, np.float32(table[name][row]) if "price" in name else table[name][row])


def test_empty_sessions_have_no_true_answer(reference, plan):
    empty = plan.sessions[0].iloc[:0]
    answers = reference.encode([empty, plan.sessions[0], empty])
    assert list(answers.encoded) == [1]
    assert answers.unjudged == {0: EMPTY, 2: EMPTY}
    assert reference.encode([empty]).encoded == {}


def test_where_nvtabular_raises_the_other_sessions_are_still_judged(reference, plan):
    null = plan.sessions[0].copy()
    null["category"] = np.nan
    answers = reference.encode([plan.sessions[1], null, plan.sessions[2]])
    alone = reference.encode([plan.sessions[2]]).encoded[0]
    assert list(answers.encoded) == [0, 2]
    assert list(answers.unjudged) == [1]
    assert answers.reason().startswith("NVTabular raises ")
    np.testing.assert_array_equal(answers.encoded[2]["item_id-list"], alone["item_id-list"])


def test_without_a_tie_breaker_ties_in_time_have_no_true_answer(shop, frame, sample, tmp_path):
    plan = shop.plan_of(shop.fit(frame, tmp_path, tie_breaker=False), sample, tie_breaker_column=None)
    tied = plan.sessions[0].assign(timestamp=pd.Timestamp(0))
    assert len(tied) > 1
    answers = shop.reference_of(plan).encode([tied, plan.sessions[1]])
    assert list(answers.encoded) == [1]
    assert answers.reason() == TIED


@pytest.mark.parametrize("session_output", [True, False])
def test_sessions_that_a_filter_drops_have_no_true_answer(shop, frame, sample, session_output, tmp_path):
    long = ops.Filter(f=lambda df: df["item_id-count"] >= 2)
    workflow = shop.fit(frame, tmp_path, session_operator=long, session_output=session_output)
    plan = shop.plan_of(workflow, sample)
    one, more = plan.sessions[0].iloc[:1], plan.sessions[0].iloc[:2]
    answers = shop.reference_of(plan).encode([one, more, one, more])
    assert list(answers.encoded) == [1, 3]
    assert answers.unjudged == {0: DROPPED, 2: DROPPED}
    assert len(answers.encoded[1]["item_id-list"]) == 2


@pytest.mark.parametrize("session_output", [True, False])
@pytest.mark.parametrize("ids", [[7, 3, 7], ["b", "a", "b"], [2.5, 0.5, 2.5], pd.to_datetime([9, 1, 9], unit="D")])
def test_sessions_keep_their_own_ids_and_those_of_one_id_stay_apart(shop, frame, sample, session_output, ids, tmp_path):
    seen = set()

    class Watch(ops.Operator):
        def transform(self, col_selector, df):
            seen.update(df["session_id"])
            return df

    named = frame.assign(session_id=pd.Series(list(ids)).iloc[frame["session_id"] % 2].to_numpy())
    codes = ["item_id", "session_id", "timestamp", "position"] >> Watch()
    encoded = codes["item_id"] >> ops.Categorify(out_path=str(tmp_path))
    grouped = encoded + codes["session_id", "timestamp", "position"] >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=["timestamp", "position"], aggs={"item_id": ["list"]}, name_sep="-"
    )
    lists = grouped["item_id-list"] >> ops.ListSlice(-4)
    workflow = nvt.Workflow(lists + grouped["session_id"] if session_output else lists)
    workflow.fit(nvt.Dataset(named))
    plan = shop.plan_of(workflow, named, nn.Identity())
    lengths = [2, 3, 1]
    sessions = [
        plan.sessions[0].iloc[:length].assign(session_id=session_id)
        for length, session_id in zip(lengths, ids, strict=True)
    ]
    reference = shop.reference_of(plan)
    seen.clear()
    answers = reference.encode(sessions)
    assert [len(answers.encoded[row]["item_id-list"]) for row in range(3)] == lengths
    assert seen == set(ids)


def test_scores_are_the_eager_model_s_but_for_special_codes_and_sessions_without_a_known_item(reference, plan, model):
    known = {"item_id-list": np.array([4, 3]), "category-list": np.array([3, 4]), "price-list": np.zeros(2, np.float32)}
    cold = {"item_id-list": np.array([2, 1]), "category-list": np.array([3, 4]), "price-list": np.zeros(2, np.float32)}
    scores = reference.scores([known, cold], 4)
    padded = {name: torch.from_numpy(np.pad(values, (0, 2)))[None] for name, values in known.items()}
    with torch.no_grad():
        eager = (model.query(padded) @ model.item_table().T)[0].numpy()
    assert (scores[:, :FIRST_ITEM] == np.float32(LOWEST_FLOAT32)).all()
    np.testing.assert_allclose(scores[0, FIRST_ITEM:], eager[FIRST_ITEM:], rtol=1e-6)
    np.testing.assert_array_equal(scores[1], plan.log_popularity)
