import pandas as pd
import pytest

from nextitem_training.config import DataConfig
from nextitem_training.data.split import Given, Split, sample_sessions, split_interactions
from nextitem_training.errors import DataError


def frame_of(sessions):
    rows = [
        {"session_id": session, "item_id": "a", "timestamp": pd.Timestamp(2024, 1, day)}
        for session, days in sessions.items()
        for day in days
    ]
    return pd.DataFrame(rows)


def test_sessions_that_start_late_are_held_out_and_nothing_late_is_learnt():
    frame = frame_of({"early": [1, 2], "across": [4, 5, 9], "late": [9, 10]})
    split = split_interactions(frame, DataConfig(holdout_days=4))
    assert split.held_out["session_id"].unique().tolist() == ["late"]
    assert split.training["session_id"].tolist() == ["early", "early", "across", "across"]
    assert split.training["timestamp"].max() <= split.cutoff


def test_the_days_before_the_cutoff_are_for_validation():
    frame = frame_of({"early": [1, 2], "across": [3, 5, 9], "middle": [5, 6, 7], "late": [9, 10]})
    split = split_interactions(frame, DataConfig(holdout_days=4, validation_days=2))
    assert split.held_out["session_id"].unique().tolist() == ["late"]
    assert split.validation["session_id"].tolist() == ["middle", "middle"]
    assert split.training["session_id"].tolist() == ["early", "early", "across"]
    assert not len(split_interactions(frame, DataConfig(holdout_days=4)).validation)


def test_a_validation_of_no_use_is_refused():
    frame = frame_of({"early": [1, 2], "middle": [6], "late": [9, 10]})
    with pytest.raises(DataError, match=r"No session of two interactions is left for validation.*validation_days is 2"):
        split_interactions(frame, DataConfig(holdout_days=4, validation_days=2))


@pytest.mark.parametrize(
    ("sessions", "days", "sentence"),
    [
        ({"a": [1, 2], "b": [9, 10]}, 20, "No session of 2 interactions is left for training"),
        ({"a": [1, 2], "b": [10]}, 4, "No session of two interactions is held out"),
    ],
)
def test_a_useless_split_is_refused(sessions, days, sentence):
    with pytest.raises(DataError, match=sentence):
        split_interactions(frame_of(sessions), DataConfig(holdout_days=days))


def test_where_no_session_is_held_out_it_is_told_what_would_help():
    users = frame_of({"a": [1, 20, 30], "b": [3, 22], "c": [29]})
    with pytest.raises(
        DataError, match=r"starts 27\.0 days before the end: hold out more than that, or, .*last-interaction"
    ):
        split_interactions(users, DataConfig(holdout_days=10))


def days_of(frame):
    return pd.Timestamp(2024, 1, 1) + pd.to_timedelta(frame["timestamp"], unit="D")


USERS = {"u": [(3, "c"), (1, "a"), (4, "d"), (2, "b")], "v": [(9, "y"), (1, "x")], "w": [(5, "z")]}


def users_of(sessions=USERS, **more):
    rows = [(user, item, day) for user, events in sessions.items() for day, item in events]
    frame = pd.DataFrame(rows, columns=["session_id", "item_id", "timestamp"]).assign(**more)
    return frame.assign(timestamp=days_of(frame), row_position=range(len(frame)))


def items_of(frame):
    return {user: "".join(rows["item_id"]) for user, rows in frame.groupby("session_id", sort=False)}


LEAVE_ONE_OUT = {"holdout": "last-interaction"}


def test_the_newest_interaction_of_each_session_is_held_out_and_short_ones_stay_in_training():
    split = split_interactions(users_of(), DataConfig(**LEAVE_ONE_OUT))
    assert items_of(split.training) == {"u": "cab", "v": "x", "w": "z"}
    assert items_of(split.held_out) == {"u": "cadb", "v": "yx"}  # in the data's order; the workflow sorts by time
    assert not len(split.validation)
    assert split.cutoff is None


def test_the_one_before_is_for_validation():
    data = DataConfig(**LEAVE_ONE_OUT, validation_interaction=True)
    split = split_interactions(users_of(), data)
    assert items_of(split.training) == {"u": "ab", "v": "x", "w": "z"}
    assert items_of(split.validation) == {"u": "cab"}
    # The test is the same with and without a validation.
    assert split.held_out.equals(split_interactions(users_of(), DataConfig(**LEAVE_ONE_OUT)).held_out)


def test_of_one_time_the_later_row_is_the_newer():
    rows = users_of({"u": [(1, "a"), (1, "b"), (1, "c"), (1, "d")], "v": [(1, "s"), (1, "t"), (1, "u"), (1, "v")]})
    mixed = rows.iloc[[0, 4, 1, 5, 2, 6, 3, 7]].reset_index(drop=True)
    split = split_interactions(mixed, DataConfig(**LEAVE_ONE_OUT, validation_interaction=True))
    assert items_of(split.training) == {"u": "ab", "v": "st"}
    assert items_of(split.validation) == {"u": "abc", "v": "stu"}


@pytest.mark.parametrize(
    ("sessions", "settings", "sentence"),
    [
        (
            USERS,
            {"min_session_length": 5},
            "No session of 5 interactions is left .* keeps 1 of each from it; lower min_session_length or give longer",
        ),
        (
            {"u": [(1, "a")]},
            {},
            "No session is long enough to be judged by. The longest session of the data has 1, .* needs 1",
        ),
        (
            {"u": [(1, "a"), (2, "b")]},
            {"validation_interaction": True},
            "No session is long enough .* has 2, .* needs 2",
        ),
        (
            {"u": [(1, "a"), (2, "b")]},
            {},
            "No session of 2 interactions is left for training. .* keeps 1 of each from it; give longer",
        ),
        (
            USERS,
            {"min_item_count": 2},
            "No item has the 2 interactions .* min_item_count asks for; the most frequent one has 1",
        ),
    ],
)
def test_a_useless_leaving_out_is_refused(sessions, settings, sentence):
    with pytest.raises(DataError, match=sentence):
        split_interactions(users_of(sessions), DataConfig(**LEAVE_ONE_OUT, **settings))


@pytest.mark.parametrize("settings", [{}, LEAVE_ONE_OUT])
def test_what_is_given_is_not_split_off(settings):
    frame, other, third = users_of(), users_of({"o": [(1, "a"), (2, "b")]}), users_of({"p": [(1, "a"), (2, "b")]})
    split = split_interactions(frame, DataConfig(**settings), Given(other, third))
    assert split.training is frame
    assert (split.validation is other, split.held_out is third) == (True, True)
    assert split.cutoff is None


def test_of_given_test_data_the_validation_is_still_split_off():
    given = Given(held_out=users_of({"o": [(1, "a"), (2, "b")]}))
    one = split_interactions(users_of(), DataConfig(**LEAVE_ONE_OUT, validation_interaction=True), given)
    assert items_of(one.training) == {"u": "cab", "v": "x", "w": "z"}
    assert items_of(one.validation) == {"u": "cadb", "v": "yx"}
    frame = frame_of({"early": [1, 2], "middle": [5, 6, 7]})
    days = split_interactions(frame, DataConfig(validation_days=3), given)
    assert days.training["session_id"].unique().tolist() == ["early"]
    assert days.validation["session_id"].unique().tolist() == ["middle"]


def test_data_too_short_beside_given_data_is_told_so():
    given = Given(held_out=users_of({"o": [(1, "a"), (2, "b")]}))
    with pytest.raises(DataError, match=r"No session of 2 interactions is left for training\..*; give longer sessions"):
        split_interactions(users_of({"u": [(1, "a")]}), DataConfig(), given)


def sample_of(frame, data):
    return sample_sessions(Split(frame.iloc[:0], frame.iloc[:0], frame), data, seed=1)


def test_the_sample_has_sessions_of_every_kind_of_length():
    sessions = {f"one{i}": [1] for i in range(50)} | {f"two{i}": [1, 2] for i in range(50)}
    frame = frame_of(sessions | {"long": [1, 2, 3, 4]})
    data = DataConfig(window=3, sample_sessions=10)
    sample = sample_of(frame, data)
    lengths = sample.groupby("session_id").size()
    assert len(lengths) == 10
    assert set(lengths) == {1, 2, 4}
    assert sample.equals(sample_of(frame, data))


def test_where_an_interaction_is_held_out_the_sample_has_whole_sessions_and_ones_of_one():
    users = {f"u{i}": [(day, f"i{day}") for day in range(1, 5)] for i in range(20)} | {"w": [(1, "x")]}
    data = DataConfig(**LEAVE_ONE_OUT, window=3, sample_sessions=10)
    frame = users_of(users)
    sample = sample_sessions(split_interactions(frame, data), data, seed=1)
    found = items_of(sample)
    assert len(found) == 10
    assert found.pop("w") == "x"
    assert set(found.values()) == {"i1i2i3i4"}
