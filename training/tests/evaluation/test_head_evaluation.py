from typing import get_args

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nextitem_training.config import HeadConfig
from nextitem_training.config.heads import HeadKind
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.evaluation.heads import MEASURES, binary_measures, evaluate_heads, regression_measures

NOTHING = np.empty(0)


def test_every_kind_has_its_measures():
    assert list(MEASURES) == sorted(get_args(HeadKind))


@given(st.lists(st.tuples(st.sampled_from([0.1, 0.4, 0.5, 0.9]), st.booleans()), min_size=1, max_size=12))
def test_binary_measures_are_those_of_their_definitions(answers):
    predicted, targets = np.array([a[0] for a in answers]), np.array([float(a[1]) for a in answers])
    found = binary_measures(predicted, targets, NOTHING)
    pairs = [(p > n) + (p == n) / 2 for p in predicted[targets == 1] for n in predicted[targets == 0]]
    assert found["auc"] == (pytest.approx(np.mean(pairs)) if pairs else None)
    assert found["log_loss"] == pytest.approx(-np.mean(np.log(np.where(targets == 1, predicted, 1 - predicted))))
    assert found["positives"] == targets.mean()


def test_a_certain_mistake_costs_much_and_not_infinitely_much():
    assert 10 < binary_measures(np.array([1.0]), np.array([0.0]), NOTHING)["log_loss"] < 100


def test_regression_is_judged_beside_the_mean_of_training():
    found = regression_measures(np.array([1.0, 5.0]), np.array([2.0, 2.0], np.float32), np.array([1.0, 5.0]))
    assert found == {"rmse": pytest.approx(np.sqrt(5)), "rmse_of_training_mean": pytest.approx(1.0)}


@pytest.mark.parametrize("measure", [binary_measures, regression_measures])
def test_nothing_to_judge_is_none(measure):
    assert set(measure(NOTHING, NOTHING, NOTHING).values()) == {None}


class Echo(torch.nn.Module):
    """Says the input's newest item code, of what it is given."""

    window = 3
    item_feature = "item"
    feature_names = ("item",)
    head_widths = {"h": 1}  # noqa: RUF012

    def __init__(self):
        super().__init__()
        self.anything = torch.nn.Parameter(torch.zeros(()))

    def query_and_heads(self, features):
        assert set(features) == {"item"}
        items = features["item"]
        assert items.shape[1] <= self.window
        newest = items.gather(1, (items != 0).sum(1, keepdim=True) - 1)
        return items, {"h": newest.float()}


def test_the_last_interaction_is_judged_by_those_before_it():
    #          answered        one alone  cold       null        longer than the window
    items = [[4, 5, 6, 7], [9], [2, 1, 5], [4, 5], [3, 4, 5, 6, 9]]
    values = [[0, 0, 0, 8], [1], [0, 0, 1], [0, np.nan], [0, 0, 0, 0, 3]]
    offsets = np.concatenate([[0], np.cumsum([len(row) for row in items])])
    features = {"item": np.concatenate(items), "c": np.concatenate(values).astype(np.float32)}
    held_out = EncodedSessions(np.arange(5), offsets, features)
    training = EncodedSessions(np.arange(1), np.array([0, 3]), {"c": np.array([1, np.nan, 3], np.float32)})
    heads = [HeadConfig("h", "regression", "c")]
    found = evaluate_heads(Echo(), heads, training, held_out)
    expected = np.sqrt(np.mean(np.square(np.array([6 - 8, 6 - 3]))))
    baseline = np.sqrt(np.mean(np.square(np.array([2 - 8, 2 - 3]))))
    measures = {"rmse": pytest.approx(expected), "rmse_of_training_mean": pytest.approx(baseline), "sessions": 2}
    assert found == {"h": measures}
    assert evaluate_heads(Echo(), [], training, held_out) == {}
