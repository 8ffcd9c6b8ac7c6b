"""Filters over the wire, each session by its own; right is offline's ranking without the barred items (README.md, 2)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest

from serving_tests.support.filtering import Filters
from serving_tests.support.made.shop import MAX_TOP_K, WINDOW
from serving_tests.support.ranking import LOWEST, assert_true, assert_true_answer, judged
from serving_tests.support.raw_client import Answer, RawClient


@pytest.fixture
def filtered(raw_client: RawClient, reference, encode):
    """Asks with filters, holds the answer to offline's and returns it."""

    def ask(batch: list[pd.DataFrame], filters: Filters, top_k: int = 20) -> Answer:
        wanted = np.full((len(batch), 1), top_k, dtype=np.int32)
        answer = raw_client.ask(encode(batch, top_k=wanted, **filters.tensors("")))
        assert answer.item_ids.shape == (len(batch), top_k)
        barred = filters.barred(reference.item_ids, [session.item_id.tolist() for session in batch])
        assert_true(reference, batch, answer, barred)
        return answer

    return ask


def best_of(reference, batch: list[pd.DataFrame], k: int) -> list[list[str]]:
    """The best raw ids of each session, offline."""
    order = np.argsort(-judged(reference, batch).scores, axis=1, kind="stable")[:, :k]
    return reference.item_ids[order].tolist()


def test_each_session_excludes_its_own_items(filtered, reference, sessions) -> None:
    batch = sessions[:6]
    best = best_of(reference, batch, 9)
    excluded = [ids[:row] for row, ids in enumerate(best)]  # from none to five
    answer = filtered(batch, Filters(excluded=excluded), top_k=3)
    assert [row[0] for row in answer.item_ids] == [ids[row] for row, ids in enumerate(best)]


def test_each_session_allows_its_own_items(filtered, reference, sessions) -> None:
    batch = sessions[:4]
    best = best_of(reference, batch, 6)
    allowed = [[], best[1][:1], best[2][5:2:-1], [*best[3][:2], "never seen", None]]
    answer = filtered(batch, Filters(allowed=allowed), top_k=5)
    assert answer.item_ids[1:].tolist() == [
        [best[1][0], *[""] * 4],
        [*best[2][3:6], *[""] * 2],
        [*best[3][:2], *[""] * 3],
    ]
    assert (answer.scores[1, 1:] == LOWEST).all()


def test_seen_items_are_left_out_also_those_beyond_the_window(filtered, reference, sessions) -> None:
    long = pd.concat(sessions[:40], ignore_index=True).drop_duplicates("item_id").iloc[: 4 * WINDOW]
    long["timestamp"] = pd.date_range("2008-08-08", periods=len(long), freq="min")
    assert len(long) == 4 * WINDOW
    batch = [long, long, long.iloc[:0]]
    answer = filtered(batch, Filters(seen=[True, False, True]), top_k=MAX_TOP_K)
    seen = set(long.item_id)
    assert not seen & set(answer.item_ids[0])
    assert seen <= set(answer.item_ids[1])
    assert seen <= set(answer.item_ids[2])


def test_all_rules_act_together(filtered, reference, sessions) -> None:
    session = next(s for s in sessions if s.item_id.nunique() >= 3)
    own = session.item_id.unique().tolist()
    best = [item for item in best_of(reference, [session], 30)[0] if item not in own]
    filters = Filters(excluded=[best[:1]], allowed=[[*own, *best[:3]]], seen=[True])
    answer = filtered([session], filters, top_k=4)
    assert answer.item_ids[0].tolist() == [best[1], best[2], "", ""]


def test_as_many_items_come_as_there_are(filtered, reference, sessions) -> None:
    catalogue = reference.item_ids[3:].tolist()
    for left in (20, 19, 1, 0):
        answer = filtered(sessions[:2], Filters(excluded=[catalogue[left:], []]))
        assert (answer.item_ids[0] != "").sum() == left
        assert (answer.item_ids[1] != "").all()


@pytest.mark.parametrize(
    "filters",
    [Filters(allowed=[["never seen"]]), Filters(allowed=[["B4"]], excluded=[["B4"]])],
    ids=["unknown ones alone", "allowed and excluded"],
)
def test_filters_that_leave_nothing_give_null_and_the_lowest_score(filtered, sessions, filters: Filters) -> None:
    for session in (sessions[0], sessions[0].assign(item_id="cold"), sessions[0].iloc[:0]):
        answer = filtered([session], filters)
        assert answer.item_ids.tolist() == [[""] * 20]
        assert (answer.scores == LOWEST).all()


def test_cold_and_empty_sessions_are_filtered_too(filtered, reference, sessions) -> None:
    cold, empty = sessions[0].assign(item_id="never seen"), sessions[0].iloc[:0]
    popular = best_of(reference, [empty], 8)[0]
    filters = Filters(excluded=[popular[:2], popular[:3]], allowed=[[], popular[2:5]], seen=[True, True])
    answer = filtered([cold, empty], filters, top_k=6)
    assert answer.status == ["cold", "empty"]
    assert answer.item_ids.tolist() == [popular[2:8], [*popular[3:5], *[""] * 4]]


@pytest.mark.parametrize(
    "listed", [[None], [None, None, None], [], ["never seen ☃"], ["b4", "B4 ", "B4\u200b", "\uff224"]]
)
def test_what_excludes_nothing(raw_client: RawClient, filtered, encode, sessions, listed) -> None:
    free = raw_client.ask(encode(sessions[:2])).item_ids.tolist()
    assert filtered(sessions[:2], Filters(excluded=[listed, listed])).item_ids.tolist() == free
    if listed and set(listed) != {None}:
        return
    assert filtered(sessions[:2], Filters(allowed=[listed, listed])).item_ids.tolist() == free


def test_lists_of_any_length_are_answered(filtered, reference, sessions) -> None:
    best = best_of(reference, sessions[:1], 3)[0]
    for width in (1, 63, 64, 65, 1_024, 1_025, 20_000):  # what counts are different items
        repeated = [*[best[0]] * (width - 1), "never seen"]
        assert filtered(sessions[:1], Filters(excluded=[repeated], allowed=[best])).item_ids[0, 0] == (
            best[0] if width == 1 else best[1]
        )


def test_concurrent_requests_keep_their_own_filters(raw_client: RawClient, reference, sessions, encode, server) -> None:
    catalogue = reference.item_ids[3:].tolist()
    random = np.random.default_rng(0)

    def drawn(number: int) -> tuple[list[pd.DataFrame], Filters]:
        batch = [sessions[i] for i in random.integers(0, len(sessions), 1 + number % 4)]
        lists = [random.permutation(catalogue)[: 10 * (number % 12)].tolist() for _ in batch]
        kind = ("excluded", "allowed", "neither")[number % 3]
        return batch, Filters(**({kind: lists} if kind != "neither" else {}), seen=[number % 2 == 0] * len(batch))

    requests = [drawn(number) for number in range(48)]

    def one(request: tuple[list[pd.DataFrame], Filters]) -> Answer:
        own = RawClient(raw_client.protocol, getattr(server, f"{raw_client.protocol}_url"), raw_client.model)
        try:
            return own.ask(encode(request[0], **request[1].tensors("")))
        finally:
            own.close()

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(one, requests))
    true = judged(
        reference, [session for batch, _ in requests for session in batch]
    ).scores  # NVTabular is slow to call
    for (batch, filters), answer in zip(requests, answers, strict=True):
        barred = filters.barred(reference.item_ids, [session.item_id.tolist() for session in batch])
        assert_true_answer(reference.item_ids, true[: len(batch)], answer, barred)
        true = true[len(batch) :]
    assert not len(true)
