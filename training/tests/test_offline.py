import numpy as np
import pandas as pd
import pytest

from nextitem_training.errors import DataError
from nextitem_training.special_ids import LOWEST_SCORE, NULL_FLOAT32, NULL_INT64

TIME = pd.Timestamp("2024-03-20 10:00")


def rows_of(items, session="a", **columns):
    """Raw interactions a minute apart, with the side features that the items have in training."""
    numbers = [int(item[1:]) if item and item[1:].isdigit() else 0 for item in items]
    rows = {
        "session_id": session,
        "item_id": items,
        "timestamp": [TIME + pd.Timedelta(minutes=i) for i in range(len(items))],
        "brand": [["north", "south", "", None][number % 4] for number in numbers],
        "shop": pd.array([[7, None, 2**60 + 1][number % 3] for number in numbers], dtype="Int64"),
        "price": [[1.5, None, 20.0][number % 3] for number in numbers],
        "clicks": numbers,
    }
    return pd.DataFrame(rows | columns)


def test_the_trained_pattern_is_answered(predictor):
    answer = predictor.predict(rows_of(["i01", "i02", "i03"]), 3)
    assert answer.status == ["ok"]
    assert answer.item_ids[0, 0] == "i04"
    assert answer.scores.dtype == np.float32
    assert (np.diff(answer.scores[0]) <= 0).all()


def test_a_run_without_heads_says_nothing_of_them(predictor, run):
    assert predictor.predict(rows_of(["i01"]), 1).heads == {}
    assert run.schema.heads == ()
    assert "heads" not in run.metrics()


def test_one_answer_per_session_in_order_of_first_appearance(predictor):
    mixed = pd.concat(
        [
            rows_of(["i04", "i05"], session="z"),
            rows_of(["i01", "i02", "i03"], session="b"),
            rows_of(["i06"], session="z", timestamp=TIME + pd.Timedelta(hours=1)),
            rows_of(["never seen"], session="a"),
        ]
    )
    answer = predictor.predict(mixed, 2)
    assert answer.session_ids == ["z", "b", "a"]
    assert answer.status == ["ok", "ok", "cold"]
    assert answer.item_ids[:2, 0].tolist() == ["i07", "i04"]
    for row, session in enumerate(answer.session_ids):  # alone as among others
        alone = predictor.predict(mixed[mixed["session_id"] == session], 2)
        assert alone.item_ids.tolist() == [answer.item_ids[row].tolist()]
        np.testing.assert_allclose(alone.scores[0], answer.scores[row], atol=1e-5)


def test_scores_agree_with_predict_and_special_codes_are_out(predictor, run):
    sample = run.sample()
    full = predictor.scores(sample)
    answer = predictor.predict(sample, 4)
    assert full.scores.shape == (sample["session_id"].nunique(), run.schema.item_count)
    assert (full.scores[:, :3] == np.float32(LOWEST_SCORE)).all()
    np.testing.assert_array_equal(np.sort(full.scores, 1)[:, ::-1][:, :4], answer.scores)
    assert not (answer.item_ids == "").any()


def test_cold_and_empty_sessions_get_the_most_popular_items(predictor, run, clicks):
    answer = predictor.predict(rows_of(["x", None, ""]), 12, session_ids=["nobody", "a"])
    assert answer.status == ["empty", "cold"]
    assert answer.item_ids[0].tolist() == answer.item_ids[1].tolist()
    cutoff = pd.Timestamp(run.metrics()["cutoff"])
    shares = clicks[clicks["timestamp"] <= cutoff]["item_id"].value_counts(normalize=True)
    expected = np.log(shares[answer.item_ids[0]].to_numpy())
    np.testing.assert_allclose(answer.scores[0], expected, rtol=1e-5)
    assert (np.diff(answer.scores[0]) <= 0).all()


def test_a_session_without_rows_at_all_is_empty(predictor):
    nothing = rows_of(["i01"]).iloc[:0]
    assert predictor.predict(nothing, 2, session_ids=["a"]).status == ["empty"]
    assert predictor.predict(nothing, 2).item_ids.shape == (0, 2)


def test_cold_is_judged_within_the_window(predictor):
    items = ["i01", *["x"] * 5]  # the known one is older than the window
    assert predictor.predict(rows_of(items), 1).status == ["cold"]
    assert predictor.predict(rows_of(items[:-1]), 1).status == ["ok"]


def test_a_long_session_keeps_its_newest_interactions(predictor):
    long = rows_of([f"i{i % 12:02d}" for i in range(30)])
    np.testing.assert_allclose(predictor.scores(long).scores, predictor.scores(long.tail(5)).scores, atol=1e-6)


def test_time_orders_a_session_and_the_rows_order_breaks_ties(predictor):
    items = ["i03", "i01", "i02"]
    straight = rows_of(["i01", "i02", "i03"])
    jumbled = rows_of(items)
    jumbled["timestamp"] = TIME + pd.to_timedelta([2, 0, 1], unit="min")
    expected = predictor.scores(straight).scores
    np.testing.assert_allclose(predictor.scores(jumbled).scores, expected, atol=1e-6)
    tied = predictor.scores(rows_of(items, timestamp=TIME)).scores
    reverse = predictor.scores(rows_of(items[::-1], timestamp=TIME)).scores
    assert np.abs(tied - reverse).max() > 1e-3


def test_equal_scores_go_to_the_lower_code(predictor, monkeypatch):
    def equal(features):
        known = (features["item_id"] >= 3).any(axis=1)
        scores = np.zeros((len(known), len(predictor.item_ids)), np.float32)
        scores[:, 7] = 1
        scores[:, :3] = LOWEST_SCORE
        return known, scores, {}

    monkeypatch.setattr(predictor, "_run", equal)
    answer = predictor.predict(rows_of(["i01"]), 4)
    assert answer.item_ids[0].tolist() == predictor.item_ids[[7, 3, 4, 5]].tolist()


def test_slots_beyond_the_catalogue_are_null(predictor, run):
    answer = predictor.predict(rows_of(["i01"]), 20)
    assert answer.item_ids.shape == answer.scores.shape == (1, 20)
    assert "" not in answer.item_ids[0, :12]
    assert (answer.item_ids[0, 12:] == "").all()
    assert (answer.scores[0, 12:] == np.float32(LOWEST_SCORE)).all()


def test_null_may_stand_in_every_column_in_every_form(predictor):
    plain = rows_of(["i01", None], brand=None, shop=None, price=None, clicks=None)
    plain["timestamp"] = pd.NaT
    request = rows_of(["i01", ""], brand="", shop=NULL_INT64, clicks=NULL_INT64)
    request["price"] = np.float32(NULL_FLOAT32)
    request["timestamp"] = np.array([NULL_INT64] * 2)
    plain_scores = predictor.scores(plain)
    assert plain_scores.status == ["ok"]
    assert np.isfinite(plain_scores.scores).all()
    np.testing.assert_array_equal(plain_scores.scores, predictor.scores(request).scores)


def test_the_index_of_the_rows_is_of_no_account(predictor):
    rows = rows_of(["i01", None, "i03"])
    moved = rows.set_index(pd.Index([9, 9, 4]))
    np.testing.assert_array_equal(predictor.scores(rows).scores, predictor.scores(moved).scores)


@pytest.mark.parametrize(
    ("change", "arguments", "sentence"),
    [
        ({}, {"k": 0}, "k is 0; it has to be at least 1"),
        ({"session_id": None}, {"k": 1}, "holds None; expected is the id of a session"),
        ({}, {"k": 1, "session_ids": ["b"]}, "holds 'a'; expected is the id of a session"),
        ({"shop": "x"}, {"k": 1}, "'shop' has to be int64"),
    ],
)
def test_wrong_input_is_refused(predictor, change, arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        predictor.predict(rows_of(["i01"], **change), **arguments)


def test_a_missing_column_is_named(predictor):
    with pytest.raises(DataError, match="no column 'session_id'"):
        predictor.predict(rows_of(["i01"]).drop(columns="session_id"), 1)
    with pytest.raises(DataError, match="no column 'price'"):
        predictor.predict(rows_of(["i01"]).drop(columns="price"), 1)
