"""The MUSTs of the contract against a running Triton: both formats, both protocols."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from serving_tests.support.made.shop import MAX_TOP_K, WINDOW
from serving_tests.support.ranking import LOWEST, SCORE_TOLERANCE, assert_true, assert_true_answer, judged
from serving_tests.support.raw_client import Answer, RawClient


def assert_same(one: Answer, other: Answer) -> None:
    """The same answer but for the last bits: sums in another order with another batch size."""
    assert one.status == other.status
    np.testing.assert_allclose(one.scores, other.scores, rtol=0, atol=SCORE_TOLERANCE)
    agree = (one.item_ids == other.item_ids) | np.isclose(one.scores, other.scores, rtol=0, atol=1e-5)
    assert agree.all()


def top(k: int, sessions: int = 1) -> np.ndarray:
    return np.full((sessions, 1), k, dtype=np.int32)


def test_the_judge_tells_sessions_and_their_order_apart(reference, sessions) -> None:
    """Without this the tests below could not fail: answers that are all alike line up with anything."""
    true = judged(reference, [s for s in sessions if len(s) >= 2][:200]).scores
    rankings = {tuple(row) for row in np.argsort(-true, axis=1)[:, :20]}
    assert len(rankings) > 0.9 * len(true)
    ordered = [s.assign(timestamp=s.timestamp[0]) for s in sessions if s.item_id.nunique() >= 3][:100]
    there, back = judged(reference, ordered).scores, judged(reference, [s.iloc[::-1] for s in ordered]).scores
    assert np.mean(np.abs(there - back).max(axis=1) > 100 * SCORE_TOLERANCE) > 0.9


# 1. Row i answers row i.


def test_each_session_is_answered_in_its_row(raw_client: RawClient, reference, sessions, encode) -> None:
    batch = sessions[:40]
    assert min(map(len, batch)) == 1  # what training filters out is answered too
    assert_true(reference, batch, raw_client.ask(encode(batch)))
    turned = list(reversed(batch))
    assert_true(reference, turned, raw_client.ask(encode(turned)))


# 2. Raw ids in, raw ids out.


def test_answers_hold_raw_ids_and_as_many_as_wanted(raw_client: RawClient, clicks, sessions, encode) -> None:
    items = set(clicks.item_id)
    for k in (1, 7, 20, len(items) // 2):
        answer = raw_client.ask(encode(sessions[:3], top_k=top(k, 3)))
        assert answer.item_ids.shape == answer.scores.shape == (3, k)
        for row in answer.item_ids:
            assert set(row) <= items
            assert len(set(row)) == k
    assert raw_client.ask(encode(sessions[:2])).item_ids.shape == (2, 20)


def test_beyond_the_catalogue_the_answer_is_filled_with_null(
    raw_client: RawClient, reference, sessions, encode
) -> None:
    answer = raw_client.ask(encode(sessions[:2], top_k=top(MAX_TOP_K, 2)))
    known = len(reference.item_ids) - 3
    assert known < MAX_TOP_K
    assert (answer.item_ids[:, known:] == "").all()
    assert (answer.scores[:, known:] == LOWEST).all()
    assert_true(reference, sessions[:2], answer)


# 3. The newest interactions count.


def test_a_long_session_keeps_its_newest(raw_client: RawClient, reference, sessions, encode) -> None:
    long = pd.concat(sessions[:12], ignore_index=True)
    long["timestamp"] = pd.date_range("2008-08-01", periods=len(long), freq="min")
    assert len(long) >= 3 * WINDOW
    answer = raw_client.ask(encode([long]))
    assert_true(reference, [long], answer)
    assert_same(answer, raw_client.ask(encode([long.iloc[-WINDOW:]])))
    other = long.copy()
    other.loc[len(long) - WINDOW, "item_id"] = "P82"
    assert not np.array_equal(answer.scores, raw_client.ask(encode([other])).scores)


def test_interactions_are_sorted_by_time_and_ties_keep_their_order(
    raw_client: RawClient, reference, sessions, encode
) -> None:
    session = next(s for s in sessions if len(s) >= 6 and s.item_id.nunique() >= 5).iloc[:6].reset_index(drop=True)
    session["timestamp"] = pd.date_range("2008-08-01", periods=6, freq="min")
    shuffled = session.iloc[[3, 0, 5, 1, 4, 2]]
    assert_same(raw_client.ask(encode([session])), raw_client.ask(encode([shuffled])))
    tied = shuffled.assign(timestamp=session.timestamp[0])
    answer = raw_client.ask(encode([tied]))
    assert_true(reference, [tied], answer)
    assert not np.allclose(answer.scores, raw_client.ask(encode([session])).scores)


# 4. A session's answer depends on nothing but the session.


def test_an_answer_does_not_depend_on_neighbours_and_padding(raw_client: RawClient, sessions, encode) -> None:
    batch = sessions[:24]
    together = raw_client.ask(encode(batch))
    for row in (0, 7, 23):
        alone = raw_client.ask(encode([batch[row]]))
        np.testing.assert_allclose(alone.scores[0], together.scores[row], rtol=0, atol=SCORE_TOLERANCE)
    garbage = encode(batch)
    beyond = np.arange(garbage["item_id"].shape[1]) >= garbage["session_length"]
    for name in set(garbage) - {"session_length"}:
        garbage[name][beyond] = garbage[name][0, 0]
    assert_same(together, raw_client.ask(garbage))


def test_padding_may_hold_anything(raw_client: RawClient, sessions, encode) -> None:
    tensors = encode([sessions[0].iloc[:1], max(sessions, key=len)])
    clean = raw_client.ask(tensors)
    tensors["item_id"][0, 1:] = b"\xff\xfe not UTF-8"
    tensors["price"][0, 1:] = np.inf
    tensors["timestamp"][0, 1:] = -1
    assert_same(clean, raw_client.ask(tensors))


def test_concurrent_requests_do_not_mix(raw_client: RawClient, reference, sessions, encode, server) -> None:
    def one(row: int) -> Answer:
        own = RawClient(raw_client.protocol, getattr(server, f"{raw_client.protocol}_url"), raw_client.model)
        try:
            return own.ask(encode([sessions[row]], top_k=top(5 + row % 3)))
        finally:
            own.close()

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(one, range(32)))
    true = judged(reference, sessions[:32])  # at once, NVTabular being slow to call
    for row, answer in enumerate(answers):
        assert answer.item_ids.shape == (1, 5 + row % 3)
        assert answer.status == true.status[row : row + 1]
        assert_true_answer(reference.item_ids, true.scores[row : row + 1], answer, None)


# 5. The answer equals offline prediction (and in test_random_requests.py on any session); 6 and 7: nulls and unknown
# values, as training has them.


def test_nulls_of_every_type_mean_null(raw_client: RawClient, reference, sessions, encode) -> None:
    session = next(s for s in sessions if len(s) >= 4).iloc[:4].reset_index(drop=True)
    for name in session.columns.drop("session_id"):
        null = session.astype({name: object}) if session[name].dtype == np.int64 else session.copy()
        null.loc[1, name] = None
        assert_true(reference, [null], raw_client.ask(encode([null])))
    tensors = encode([session])
    tensors["price"][0, 1] = np.nan
    with_nan = raw_client.ask(tensors)
    tensors["price"][0, 1] = np.float32(-3.4028235e38)
    assert_same(with_nan, raw_client.ask(tensors))


def test_unknown_items_count_as_unknown(raw_client: RawClient, reference, sessions, encode) -> None:
    session = next(s for s in sessions if len(s) >= 3).iloc[:3].reset_index(drop=True)
    answers = []
    for unknown in ("never seen", "ÄÖÜ 🦊", "a" * 1000):
        changed = session.copy()
        changed.loc[1, "item_id"] = unknown
        answers.append(raw_client.ask(encode([changed])))
        assert_true(reference, [changed], answers[-1])
    assert_same(answers[0], answers[1])
    assert_same(answers[0], answers[2])


def test_cold_and_empty_sessions_get_what_is_popular(
    raw_client: RawClient, reference, clicks, sessions, encode
) -> None:
    cold = sessions[0].assign(item_id="never seen")
    answer = raw_client.ask(encode([cold, sessions[0].iloc[:0], sessions[0]]))
    assert answer.status == ["cold", "empty", "ok"]
    assert answer.item_ids[0].tolist() == answer.item_ids[1].tolist()
    assert_true(reference, [cold, sessions[0].iloc[:0], sessions[0]], answer)
    trained_on = clicks[clicks.timestamp < "2008-08-06"]
    assert answer.item_ids[0][0] == trained_on.item_id.value_counts().index[0]
    assert np.exp(answer.scores[0]).sum() < 1
    assert raw_client.ask(encode([sessions[0].iloc[:0]])).status == ["empty"]


def test_every_held_out_session_is_answered_as_offline(raw_client: RawClient, reference, sessions, encode) -> None:
    for start in range(0, len(sessions), 64):
        batch = sessions[start : start + 64]
        assert_true(reference, batch, raw_client.ask(encode(batch)))


@pytest.mark.parametrize("session_length", [None, "given"])
def test_session_length_defaults_to_the_tensors_length(
    raw_client: RawClient, reference, sessions, encode, session_length
) -> None:
    batch = [s.iloc[:3] for s in sessions if len(s) >= 3][:5]
    tensors = encode(batch)
    if session_length is None:
        del tensors["session_length"]
    assert_true(reference, batch, raw_client.ask(tensors))
