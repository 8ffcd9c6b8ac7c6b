import numpy as np
import pytest

from nextitem_training.evaluation import (
    as_table,
    cooccurrence_scorer,
    evaluate,
    model_scorer,
    popularity_scorer,
)
from nextitem_training.sessions import EncodedSessions

VOCABULARY = 30


def sessions_of(*sessions):
    items = np.concatenate([np.asarray(session, dtype=np.int64) for session in sessions])
    offsets = np.cumsum([0, *map(len, sessions)])
    return EncodedSessions(np.arange(len(sessions)), offsets, {"item_id": items})


def constant(scores):
    return lambda starts, lengths: np.tile(np.asarray(scores, float), (len(starts), 1))


def test_metrics_are_those_of_the_targets_rank():
    # Codes 3, 4, … are ranked 1, 2, …; the targets are ranked 1, 3 and 12; one has no input.
    held_out = sessions_of([9, 3], [9, 8, 5], [4, 14], [7])
    metrics = evaluate(held_out, "item_id", constant(-np.arange(VOCABULARY)))
    assert metrics["recall@10"] == pytest.approx(2 / 3)
    assert metrics["recall@20"] == pytest.approx(1)
    assert metrics["mrr@10"] == pytest.approx((1 + 1 / 3) / 3)
    assert metrics["mrr@20"] == pytest.approx((1 + 1 / 3 + 1 / 12) / 3)
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / np.log2(4)) / 3)


def test_equal_scores_are_ranked_by_code_and_an_unknown_target_is_missed():
    held_out = sessions_of([9, 4], [9, 2])
    metrics = evaluate(held_out, "item_id", constant(np.zeros(VOCABULARY)))
    assert metrics["mrr@10"] == pytest.approx((1 / 2 + 0) / 2)


def test_cooccurrence_counts_what_followed_and_falls_back_to_popularity():
    training = sessions_of([3, 4, 3, 5, 3, 4], [5], [2, 6], [6, 1])
    counts = np.array([30, 20, 10, 40])
    inputs = np.array([3, 4, 2, 6, 5])
    score = cooccurrence_scorer(training, "item_id", counts, inputs)
    scores = score(np.arange(5), np.ones(5, dtype=int))
    assert np.floor(scores).tolist() == [[0, 2, 1, 0], [1, 0, 0, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]
    assert scores[2].argmax() == scores[3].argmax() == 3  # the most popular
    assert popularity_scorer(counts)(np.arange(2), np.ones(2)).tolist() == [counts.tolist()] * 2


def test_the_model_is_scored_on_the_newest_interactions(run):
    model = run.load_model()
    features = {feature.name: np.arange(8).astype(feature.dtype) % 3 + 1 for feature in run.schema.features}
    newest = {name: values[3:] for name, values in features.items()}
    counts = np.arange(run.schema.item_count - 3)
    whole = model_scorer(model, features, counts)(np.array([0]), np.array([8]))
    window = model_scorer(model, newest, counts)(np.array([0]), np.array([5]))
    assert whole.shape == (1, len(counts))
    np.testing.assert_allclose(whole, window, rtol=1e-5)
    cold = model_scorer(model, features, counts)(np.array([0]), np.array([2]))  # codes 1 and 2
    assert cold.tolist() == [counts.tolist()]


def test_the_table_has_a_line_per_ranker():
    lines = as_table({"model": {"recall@10": 0.5}, "popularity": {"recall@10": 0.25}}).splitlines()
    assert lines[0].split() == ["recall@10"]
    assert lines[1].split() == ["model", "0.5000"]
    assert lines[2].split() == ["popularity", "0.2500"]
