"""Questions, and files that nextitem-train splits as a protocol wants it."""

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.accuracy.sessions import ITEM, SESSION, arranged, as_rows, every_prefix, last_of_each
from nextitem_training.config import DataConfig
from nextitem_training.data.split import split_interactions

SESSIONS = st.lists(st.lists(st.integers(0, 9), min_size=2, max_size=12), min_size=1, max_size=6)


def read(questions):
    """Each question as (input, answer)."""
    items = questions.rows[ITEM].tolist()
    inputs = [items[start : start + length] for start, length in zip(questions.starts, questions.lengths, strict=True)]
    return list(zip(inputs, questions.targets.tolist(), strict=True))


def sessions_of(rows):
    return [group[ITEM].tolist() for _, group in rows.groupby(SESSION, sort=True)]


def test_every_prefix_is_asked_and_none_crosses_sessions():
    assert read(every_prefix(as_rows([[1, 2, 3], [7], [4, 5]]))) == [([1], 2), ([1, 2], 3), ([4], 5)]


def test_the_last_of_each_is_asked_given_all_before_it():
    questions = last_of_each(as_rows([[1, 2, 3], [7], [4, 5]]), hides_seen=True)
    assert read(questions) == [([1, 2], 3), ([4], 5)]
    assert questions.hides_seen


def test_a_sample_keeps_the_order_and_the_rule():
    questions = last_of_each(as_rows([[number, 100 + number] for number in range(50)]), hides_seen=True)
    some = questions.some(10)
    assert len(some) == 10
    assert some.hides_seen
    assert sorted(read(some)) == read(some)
    assert questions.some(50) is questions


@given(SESSIONS, SESSIONS, SESSIONS)
def test_nextitem_train_holds_out_what_is_to_be_held_out(training, held_out, judged):
    rows, days = arranged(training, held_out, judged)
    split = split_interactions(rows, DataConfig(holdout_days=days["holdout_days"]))
    assert sessions_of(split.held_out) == held_out
    assert sessions_of(split.training) == training + judged
    rest = split_interactions(split.training, DataConfig(holdout_days=_of_the_rest(rows, split, days)))
    assert sessions_of(rest.held_out) == judged
    assert sessions_of(rest.training) == training


def _of_the_rest(rows, split, days):
    """`validation_days` counts back from the cutoff, a hold-out from the newest interaction."""
    newest = split.training["timestamp"].max()
    return days["validation_days"] - (split.cutoff - newest).total_seconds() / 86_400


def test_many_sessions_are_held_out_by_a_sample():
    rows, days = arranged([[1, 2]], [[number, number + 1] for number in range(5_000)])
    split = split_interactions(rows, DataConfig(**days))
    assert sessions_of(split.held_out)[:3] == [[0, 1], [3, 4], [6, 7]]
    assert sessions_of(split.training) == [[1, 2]]
