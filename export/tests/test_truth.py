from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import torch
from nvtabular import ops

from nextitem_export.runtime.codes import FIRST_ITEM, LOWEST_FLOAT32


@pytest.fixture(scope="module")
def truth(shop, plan):
    return shop.truth_of(plan)


def test_sessions_are_encoded_by_the_workflow_itself(truth, plan, workflow, sample):
    table = workflow.transform(sample.reset_index(drop=True))
    encoded = truth.encode(plan.sessions)
    assert list(encoded) == list(range(len(plan.sessions)))
    for row, features in encoded.items():
        for name, values in features.items():
            np.testing.assert_array_equal(values, np.float32(table[name][row]) if "price" in name else table[name][row])


def test_empty_sessions_have_no_true_answer(truth, plan):
    empty = plan.sessions[0].iloc[:0]
    assert list(truth.encode([empty, plan.sessions[0], empty])) == [1]
    assert truth.encode([empty]) == {}


def test_where_nvtabular_raises_the_other_sessions_are_still_judged(truth, plan):
    null = plan.sessions[0].copy()
    null["category"] = np.nan
    encoded = truth.encode([plan.sessions[1], null, plan.sessions[2]])
    assert list(encoded) == [0, 2]
    np.testing.assert_array_equal(encoded[2]["item_id-list"], truth.encode([plan.sessions[2]])[0]["item_id-list"])


def test_without_a_tie_breaker_ties_in_time_have_no_true_answer(shop, frame, sample, tmp_path):
    plan = shop.plan_of(shop.fit(frame, tmp_path, tie_breaker=False), sample, tie_breaker_column=None)
    tied = plan.sessions[0].assign(timestamp=pd.Timestamp(0))
    assert len(tied) > 1
    assert list(shop.truth_of(plan).encode([tied, plan.sessions[1]])) == [1]


@pytest.mark.parametrize("session_output", [True, False])
def test_sessions_that_a_filter_drops_have_no_true_answer(shop, frame, sample, session_output, tmp_path):
    long = ops.Filter(f=lambda df: df["item_id-count"] >= 2)
    workflow = shop.fit(frame, tmp_path, session_operator=long, session_output=session_output)
    plan = shop.plan_of(workflow, sample)
    one, more = plan.sessions[0].iloc[:1], plan.sessions[0].iloc[:2]
    encoded = shop.truth_of(plan).encode([one, more, one, more])
    assert list(encoded) == [1, 3]
    assert len(encoded[1]["item_id-list"]) == 2


def test_scores_are_the_eager_model_s_but_for_special_codes_and_sessions_without_a_known_item(truth, plan, model):
    known = {"item_id-list": np.array([4, 3]), "category-list": np.array([3, 4]), "price-list": np.zeros(2, np.float32)}
    cold = {"item_id-list": np.array([2, 1]), "category-list": np.array([3, 4]), "price-list": np.zeros(2, np.float32)}
    scores = truth.scores([known, cold], 4)
    padded = {name: torch.from_numpy(np.pad(values, (0, 2)))[None] for name, values in known.items()}
    with torch.no_grad():
        eager = (model.query(padded) @ model.item_table().T)[0].numpy()
    assert (scores[:, :FIRST_ITEM] == np.float32(LOWEST_FLOAT32)).all()
    np.testing.assert_allclose(scores[0, FIRST_ITEM:], eager[FIRST_ITEM:], rtol=1e-6)
    np.testing.assert_array_equal(scores[1], plan.log_popularity)
