import pandas as pd
import pytest

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError
from nextitem_training.split import sample_sessions, split_by_time


def frame_of(sessions):
    rows = [
        {"session_id": session, "item_id": "a", "timestamp": pd.Timestamp(2024, 1, day)}
        for session, days in sessions.items()
        for day in days
    ]
    return pd.DataFrame(rows)


def test_sessions_that_start_late_are_held_out_and_nothing_late_is_learnt():
    frame = frame_of({"early": [1, 2], "across": [4, 5, 9], "late": [9, 10]})
    split = split_by_time(frame, DataConfig(holdout_days=4))
    assert split.held_out["session_id"].unique().tolist() == ["late"]
    assert split.training["session_id"].tolist() == ["early", "early", "across", "across"]
    assert split.training["timestamp"].max() <= split.cutoff


def test_the_days_before_the_cutoff_are_for_validation():
    frame = frame_of({"early": [1, 2], "across": [3, 5, 9], "middle": [5, 6, 7], "late": [9, 10]})
    split = split_by_time(frame, DataConfig(holdout_days=4, validation_days=2))
    assert split.held_out["session_id"].unique().tolist() == ["late"]
    assert split.validation["session_id"].tolist() == ["middle", "middle"]
    assert split.training["session_id"].tolist() == ["early", "early", "across"]
    assert not len(split_by_time(frame, DataConfig(holdout_days=4)).validation)


def test_a_validation_of_no_use_is_refused():
    frame = frame_of({"early": [1, 2], "middle": [6], "late": [9, 10]})
    with pytest.raises(DataError, match=r"No session of two interactions is left for validation.*validation_days 2"):
        split_by_time(frame, DataConfig(holdout_days=4, validation_days=2))


@pytest.mark.parametrize(
    ("sessions", "days", "sentence"),
    [
        ({"a": [1, 2], "b": [9, 10]}, 20, "No session of 2 interactions is left for training"),
        ({"a": [1, 2], "b": [10]}, 4, "No session of two interactions is held out"),
    ],
)
def test_a_useless_split_is_refused(sessions, days, sentence):
    with pytest.raises(DataError, match=sentence):
        split_by_time(frame_of(sessions), DataConfig(holdout_days=days))


def test_the_sample_has_sessions_of_every_kind_of_length():
    sessions = {f"one{i}": [1] for i in range(50)} | {f"two{i}": [1, 2] for i in range(50)}
    frame = frame_of(sessions | {"long": [1, 2, 3, 4]})
    data = DataConfig(window=3, sample_sessions=10)
    sample = sample_sessions(frame, data, seed=1)
    lengths = sample.groupby("session_id").size()
    assert len(lengths) == 10
    assert set(lengths) == {1, 2, 4}
    assert sample.equals(sample_sessions(frame, data, seed=1))
