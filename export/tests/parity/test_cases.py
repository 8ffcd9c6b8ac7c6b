from __future__ import annotations

import pandas as pd
import pytest

from nextitem_export.parity.cases import ALONE, PADDED, make_cases


@pytest.fixture
def make(plan):
    def make(max_sessions: int = 64, max_interactions: int = 100):
        sessions = [session.copy() for session in plan.sessions]
        cases = make_cases(
            sessions,
            plan.raw_features,
            time_columns=["timestamp"],
            window=4,
            max_sessions=max_sessions,
            max_interactions=max_interactions,
        )
        return sessions, {case.name: case for case in cases}

    return make


def test_the_sample_is_asked_as_it_is_and_left_as_it_was(make, plan):
    sessions, cases = make()
    assert cases["the sample"].sessions is sessions
    for session, before in zip(sessions, plan.sessions, strict=True):
        pd.testing.assert_frame_equal(session, before)


def test_the_cases_are_the_same_each_time(make):
    _, first = make()
    _, second = make()
    for name, case in first.items():
        for one, other in zip(case.sessions, second[name].sessions, strict=True):
            pd.testing.assert_frame_equal(one, other)


def test_batch_sizes_are_one_three_and_the_most_that_a_request_may_have(make):
    _, cases = make()
    assert {case.batch_size for case in cases.values()} == {1, 3, 64}
    assert len(cases["one session alone"].sessions) <= ALONE
    _, cases = make(max_sessions=2)
    assert {case.batch_size for case in cases.values()} == {1, 2}


@pytest.mark.parametrize(
    ("name", "length"), [("length 1", 1), ("length 4, the window", 4), ("length 9, beyond the window", 9)]
)
def test_lengths_are_one_the_window_and_beyond(make, name, length):
    assert {len(session) for session in make()[1][name].sessions} == {length}


def test_unknown_values_are_none_of_training_s(make, plan):
    _, cases = make()
    known = set(plan.vocabulary.values)
    nothing = pd.concat(cases["nothing known"].sessions)
    assert not known & set(nothing["item_id"])
    assert nothing["category"].min() > 10**9
    share = pd.concat(cases["unknown values"].sessions)["item_id"].isin(known).mean()
    assert 0.2 < share < 0.8


def test_nulls_stand_in_strings_and_floats(make):
    nulls = pd.concat(make()[1]["nulls"].sessions)
    assert nulls["item_id"].isna().any()
    assert nulls["price"].isna().any()
    assert not nulls[["category", "timestamp"]].isna().any(axis=None)


def test_ties_have_one_time_and_the_unordered_have_their_rows(make, plan):
    _, cases = make()
    assert all(session["timestamp"].nunique() == 1 for session in cases["ties in time"].sessions)
    unordered = cases["unordered in time"].sessions
    assert any(not session["timestamp"].is_monotonic_increasing for session in unordered)
    for session, before in zip(unordered, plan.sessions, strict=True):
        pd.testing.assert_frame_equal(session.sort_index(), before)


def test_empty_sessions_stand_between_others(make):
    lengths = [len(session) for session in make()[1]["empty ones between"].sessions]
    assert not any(lengths[1::2])
    assert all(lengths[::2])


def test_no_session_is_longer_than_a_request_may_have(make):
    _, cases = make(max_interactions=8)
    assert {len(session) for session in cases["length 8, beyond the window"].sessions} == {8}
    padded = cases["garbage in padding"]
    assert padded.garbage
    assert max(map(len, padded.sessions)) == 8 - PADDED


def test_a_perturbed_session_keeps_the_id_of_the_session_that_it_is_made_from(make, plan):
    ids = [session["session_id"].iloc[0] for session in plan.sessions]
    for case in make()[1].values():
        asked = [session["session_id"].unique().tolist() for session in case.sessions if len(session)]
        assert asked == [[session_id] for session_id in ids], case.name


def test_the_sample_s_own_case_is_marked(make):
    assert [name for name, case in make()[1].items() if case.own] == ["the sample"]
