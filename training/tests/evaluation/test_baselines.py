"""Ranks that are counted, against sorted scores of the whole catalogue; and the sentence that compares model and baselines."""

import dataclasses
import itertools
import tracemalloc

import numpy as np
import pytest

from nextitem_training.data.sessions import EncodedSessions
from nextitem_training.evaluation import Questions, last_of_each
from nextitem_training.evaluation.baselines import baseline_warning, cooccurrence_ranks, popularity_ranks
from nextitem_training.train import train_run

ITEMS = 12


def drawn(random, count):
    """Sessions of null, unknown and known items, so few that they come again and again."""
    lengths = random.integers(1, 9, count)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    return EncodedSessions(np.arange(count), offsets, {"item_id": random.integers(1, ITEMS + 3, offsets[-1])})


def followed(sessions):
    """int64 [V, V], how often the second item followed the first."""
    times = np.zeros((ITEMS, ITEMS), np.int64)
    for start, end in zip(sessions.offsets[:-1], sessions.offsets[1:], strict=True):
        items = sessions.features["item_id"][start:end] - 3
        for first, second in itertools.pairwise(items):
            if min(first, second) >= 0:
                times[first, second] += 1
    return times


def by_sorting(times, counts, questions):
    """`times` [N, V] first, popularity second, the code third."""
    ranks = []
    for question, target in enumerate(questions.targets):
        seen = questions.seen(question)
        order = [item for item in np.lexsort((-counts, -times[question])) if item not in seen]
        ranks.append(order.index(target) + 1 if target in order else np.inf)
    return ranks


@pytest.mark.parametrize("exclude_seen", [False, True])
@pytest.mark.parametrize("seed", range(5))
def test_both_rank_as_sorting_does(seed, exclude_seen):
    random = np.random.default_rng(seed)
    training, held_out = drawn(random, 6), drawn(random, 60)
    counts = random.integers(0, 4, ITEMS)
    questions = last_of_each(held_out, "item_id", exclude_seen=exclude_seen)
    last = questions.items[questions.starts + questions.lengths - 1] - 3
    times = np.where((last >= 0)[:, None], followed(training)[last], 0)
    assert cooccurrence_ranks(training, "item_id", counts, questions).tolist() == by_sorting(times, counts, questions)
    assert popularity_ranks(counts, questions).tolist() == by_sorting(times * 0, counts, questions)


def test_a_training_in_which_nothing_follows_leaves_popularity():
    alone = EncodedSessions(np.arange(2), np.array([0, 1, 2]), {"item_id": np.array([3, 4])})
    questions = Questions(np.array([3, 5]), np.array([0]), np.array([1]))
    counts = np.array([1, 2, 3])
    assert cooccurrence_ranks(alone, "item_id", counts, questions).tolist() == [1]


def test_no_scores_of_the_catalogue_are_held():
    random = np.random.default_rng(0)
    items, count = 200_000, 500
    codes = random.integers(3, items + 3, 2 * count)
    sessions = EncodedSessions(np.arange(count), np.arange(count + 1) * 2, {"item_id": codes})
    questions = last_of_each(sessions, "item_id")
    tracemalloc.start()
    cooccurrence_ranks(sessions, "item_id", np.arange(items)[::-1], questions)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 16 << 20, "64 MB would be 40 sessions' scores"


def compared(model, cooccurrence, popularity):
    values = {"model": model, "co-occurrence": cooccurrence, "popularity": popularity}
    return baseline_warning({name: {"recall@20": value, "mrr@20": 0.0} for name, value in values.items()}, "recall@20")


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ((0.5, 0.4, 0.3), None),
        ((1.0, 1.0, 1.0), None),  # fewer items than 20: nothing could be better
        (
            (0.58, 0.5992, 0.2),
            "The model does not beat co-occurrence (0.5992): its recall@20 is 0.5800. See docs/choosing.md for what to change.",
        ),
        (
            (0.2, 0.3, 0.2),
            "The model does not beat co-occurrence (0.3000) or popularity (0.2000): its recall@20 is 0.2000. "
            "See docs/choosing.md for what to change.",
        ),
        (
            (0.9, 1.0, 0.1),
            "The model does not beat co-occurrence (1.0000): its recall@20 is 0.9000. See docs/choosing.md for what to change.",
        ),
    ],
)
def test_a_model_that_does_not_beat_a_baseline_is_warned_of(values, sentence):
    assert compared(*values) == sentence


def test_the_command_and_the_run_directory_say_so(clicks_path, config, tmp_path, caplog):
    untrained = dataclasses.replace(
        config,
        data=dataclasses.replace(config.data, categorical=(), continuous=(), time_features=()),
        training=dataclasses.replace(config.training, epochs=1, learning_rate=1e-9, metric="recall@10"),
    )
    with caplog.at_level("WARNING", logger="nextitem_training"):
        result = train_run(clicks_path, untrained, tmp_path / "run")
    warning = result.run.metrics()["warning"]
    assert warning == baseline_warning(result.metrics, "recall@10")
    assert warning.startswith("The model does not beat co-occurrence (")
    assert "docs/choosing.md" in warning
    assert warning in caplog.messages


def test_a_run_that_no_baseline_can_beat_has_no_warning(run):
    assert "warning" not in run.metrics()
