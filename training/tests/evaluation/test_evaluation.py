import dataclasses
import tracemalloc

import numpy as np
import pytest

from nextitem_training import evaluation
from nextitem_training.config import ModelConfig
from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.evaluation import Questions, as_table, last_of_each, metrics_of, model_ranks, ranks_of
from nextitem_training.model import SessionModel
from nextitem_training.offline import OfflinePredictor


def sessions_of(*sessions):
    items = np.concatenate([np.asarray(session, dtype=np.int64) for session in sessions])
    offsets = np.cumsum([0, *map(len, sessions)])
    return EncodedSessions(np.arange(len(sessions)), offsets, {"item_id": items})


def test_the_last_of_each_is_asked_for_given_those_before_it():
    questions = last_of_each(sessions_of([9, 3], [7], [9, 8, 2]), "item_id")
    assert questions.starts.tolist() == [0, 3]
    assert questions.lengths.tolist() == [1, 2]
    assert questions.targets.tolist() == [0, -1]
    assert questions.seen(1).tolist() == []
    assert dataclasses.replace(questions, exclude_seen=True).seen(1).tolist() == [6, 5]


def test_metrics_are_those_of_the_ranks():
    metrics = metrics_of(np.array([1, 3, 12, np.inf]))
    assert metrics["recall@10"] == pytest.approx(2 / 4)
    assert metrics["recall@20"] == pytest.approx(3 / 4)
    assert metrics["mrr@10"] == pytest.approx((1 + 1 / 3) / 4)
    assert metrics["mrr@20"] == pytest.approx((1 + 1 / 3 + 1 / 12) / 4)
    assert metrics["ndcg@10"] == pytest.approx((1 + 1 / np.log2(4)) / 4)


@pytest.mark.parametrize(
    ("scores", "target", "rank"),
    [
        ([3, 2, 1], 1, 2),
        ([0, 0, 0], 1, 2),  # of equal scores the lower code first
        ([3, 2, 1], -1, np.inf),  # unknown
        ([3, -np.inf, 1], 1, np.inf),  # left out
        ([3, np.nan, 1], 1, np.inf),
        ([np.nan, 2, 1], 1, 2),
        ([3, 2, np.nan], 1, 3),
        ([np.nan, np.nan, np.nan], 0, np.inf),
    ],
)
def test_ranks(scores, target, rank):
    assert ranks_of(np.array([scores], np.float32), np.array([target])).tolist() == [rank]


@pytest.fixture
def asked(run, clicks):
    """The small run's model, its held-out sessions as encoded by its own workflow, and their questions."""
    from nextitem_training.workflow import encode

    rows = run.sample().assign(session_id=lambda frame: frame["session_id"].astype(str))
    encoded = encode(run.load_workflow(), rows, run.schema)
    return run.load_model(), encoded, last_of_each(encoded, run.schema.item_feature)


def test_blocks_and_their_limit_change_nothing(asked, run, monkeypatch):
    model, encoded, questions = asked
    counts = np.arange(run.schema.item_count - 3)[::-1]
    whole = model_ranks(model, encoded.features, counts, questions)
    monkeypatch.setattr(evaluation, "SCORE_BYTES", 1)
    assert model_ranks(model, encoded.features, counts, questions).tolist() == whole.tolist()
    assert len(questions) > 10


def test_the_model_is_asked_as_it_is_served(asked, run):
    """Newest interactions of the window, popularity where no item is known: as the offline predictor answers."""
    model, encoded, questions = asked
    predictor = OfflinePredictor(run)
    sample = run.sample()
    sample = sample[sample.groupby("session_id")["session_id"].transform("size") >= 2]
    ids = sorted(sample["session_id"].unique())
    before = sample.sort_values(["timestamp", "row_position"], kind="stable")
    before = before[before.duplicated("session_id", keep="last")]
    scores = predictor.scores(before, session_ids=ids).scores[:, 3:]
    counts = np.exp(predictor.scores(before.iloc[:0], session_ids=["nobody"]).scores[0, 3:]) * 1e6
    expected = ranks_of(scores, questions.targets)
    np.testing.assert_array_equal(model_ranks(model, encoded.features, counts, questions), expected)


def test_cold_inputs_are_answered_by_popularity_and_long_ones_by_their_newest(run):
    model = run.load_model()
    count = run.schema.item_count - 3
    item = run.schema.item_feature
    features = {feature.name: np.ones(9, feature.dtype) for feature in run.schema.features}
    features[item] = np.array([1, 2, 5, 5, 6, 7, 8, 9, 10])
    cold = Questions(features[item], np.array([0]), np.array([2]))
    assert model_ranks(model, features, np.arange(count), cold).tolist() == [count - 2]
    newest = Questions(features[item], np.array([3]), np.array([5]))
    longer = Questions(features[item], np.array([0]), np.array([8]))
    ranks = [model_ranks(model, features, np.arange(count), asked).tolist() for asked in (newest, longer)]
    assert ranks[0] == ranks[1]


def test_items_of_the_input_are_left_out_also_those_before_the_window(run):
    model = run.load_model()
    count = run.schema.item_count - 3
    item = run.schema.item_feature
    features = {feature.name: np.ones(count + 1, feature.dtype) for feature in run.schema.features}
    features[item] = np.array([*range(3, count + 2), 3, count + 2])  # all but the last; the last is asked for
    only = Questions(features[item], np.array([0]), np.array([count]), exclude_seen=True)
    assert model_ranks(model, features, np.arange(count), only).tolist() == [1]
    again = Questions(features[item], np.array([0]), np.array([count - 1]), exclude_seen=True)  # asks for 3 once more
    assert model_ranks(model, features, np.arange(count), again).tolist() == [np.inf]


def test_the_scores_that_are_held_are_limited_whatever_the_catalogue(schema, monkeypatch):
    items = 300_000
    wide = dataclasses.replace(
        schema, features=(dataclasses.replace(schema.features[0], cardinality=items + 3), *schema.features[1:])
    )
    config = ModelConfig(body="sasrec", pretraining="clm", d_model=8, heads=2, layers=1, dropout=0.0)
    model = SessionModel(config, wide).eval()
    features = {feature.name: np.full(500, 5, feature.dtype) for feature in wide.features}
    questions = Questions(features["item_id"], np.arange(200), np.full(200, 2))
    held, rank = [], evaluation.ranks_of
    monkeypatch.setattr(evaluation, "ranks_of", lambda scores, targets: held.append(scores) or rank(scores, targets))
    tracemalloc.start()
    model_ranks(model, features, np.arange(items), questions)
    _, copies = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert {scores.dtype for scores in held} == {np.dtype("float32")}
    assert max(scores.nbytes for scores in held) <= evaluation.SCORE_BYTES == 64 << 20
    assert sum(map(len, held)) == 200
    assert copies < 8 << 20, "numpy copies them; the scores themselves are torch's, which tracemalloc does not see"


def test_the_progress_bar_names_what_is_done(asked, run, capsys, monkeypatch):
    model, encoded, questions = asked
    counts = np.arange(run.schema.item_count - 3)
    model_ranks(model, encoded.features, counts, questions, progress="evaluation")
    assert "evaluation" not in capsys.readouterr().err, "stderr is no terminal here"
    monkeypatch.setattr(evaluation, "_hides_bar", lambda progress: not progress)
    model_ranks(model, encoded.features, counts, questions, progress="evaluation")
    out, err = capsys.readouterr()
    assert "evaluation: " in err
    assert f"/{len(questions)} [" in err
    assert not out


def test_the_table_has_a_line_per_ranker():
    lines = as_table({"model": {"recall@10": 0.5}, "popularity": {"recall@10": 0.25}}).splitlines()
    assert lines[0].split() == ["recall@10"]
    assert lines[1].split() == ["model", "0.5000"]
    assert lines[2].split() == ["popularity", "0.2500"]
