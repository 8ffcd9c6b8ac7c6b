"""Which items are hidden, what is asked, and what answers come to."""

import math

import numpy as np
import pandas as pd
import pytest

from benchmarks.cold_items.baselines import nearest_content, popularity
from benchmarks.cold_items.questions import figures_of, questions_of, ranks_of, score_ranks
from benchmarks.cold_items.shops import ITEM, SESSION, TEXT, TIME, demo_shop, text_shop


@pytest.fixture(scope="module", params=["demo", "text"])
def shop(request):
    return demo_shop(40) if request.param == "demo" else text_shop(60, 400)


def test_a_fifth_is_hidden_from_training_and_asked_for(shop):
    hidden = shop.hidden(0.2, 0)
    assert len(hidden) == round(0.2 * len(shop.items))
    assert hidden != shop.hidden(0.2, 1)
    assert hidden == shop.hidden(0.2, 0)
    left = shop.without(hidden)
    assert not left.loc[left[TIME] <= shop.cutoff, ITEM].isin(hidden).any()
    asked = shop.asked()
    assert (asked.groupby(SESSION)[TIME].min() > shop.cutoff).all()
    assert left[SESSION].isin(asked[SESSION]).sum() == len(asked), "sessions that ask stay whole"
    questions = questions_of(shop, hidden, 50)
    assert len(questions.inputs) == len(questions.targets) == 50
    assert 0 < questions.cold.sum() < 50
    assert questions.cold.tolist() == [item in hidden for item in questions.targets]


def test_an_input_is_what_came_before(shop):
    questions = questions_of(shop, set(), 10**6)
    rows = shop.asked()
    assert len(questions.inputs) == len(rows) - rows[SESSION].nunique()
    asked = [*zip(questions.inputs, questions.targets, strict=True)]
    for _, session in [*rows.groupby(SESSION, sort=False)][:20]:
        items = session[ITEM].tolist()
        for place in range(1, len(items)):
            before, target = asked.pop(0)
            assert before[ITEM].tolist() == items[:place][-20:]
            assert target == items[place]
    assert max(map(len, questions.inputs)) <= 20


def test_figures():
    items = np.array([["a", "b"], ["c", "a"], ["b", "c"]], dtype=object)
    ranks = ranks_of(items, np.array(["a", "a", "a"], dtype=object))
    assert ranks.tolist() == [1, 2, math.inf]
    shop = text_shop(30, 100)
    questions = questions_of(shop, shop.hidden(0.2, 0), 3)
    questions = type(questions)(questions.inputs, questions.targets, np.array([True, False, False]))
    found = figures_of(ranks, questions)
    assert (found["cold_recall20"], found["warm_recall20"], found["all_recall20"]) == (1.0, 0.5, pytest.approx(2 / 3))
    assert found["warm_ndcg20"] == pytest.approx(0.5 / math.log2(3))


def test_baselines_rank_what_they_should(shop):
    hidden = shop.hidden(0.2, 0)
    training = shop.without(hidden)
    training = training[training[TIME] <= shop.cutoff]
    questions = questions_of(shop, hidden, 40)
    ids = shop.items[ITEM].to_numpy()
    if len(ids) > 20 + len(hidden):
        popular = figures_of(score_ranks(ids, popularity(shop, training), questions), questions)
        assert popular["warm_recall20"] > popular["cold_recall20"]
    scores = nearest_content(shop)(shop.clicks.head(1))
    last = shop.clicks[ITEM].iloc[0]
    assert scores[ids == last] == -np.inf
    assert np.isfinite(scores[ids != last]).all()


def test_texts_tell_what_is_clicked():
    """The synthetic shop's vectors find the next item more often than chance does."""
    shop = text_shop(200, 1_000)
    questions = questions_of(shop, set(), 300)
    ids = shop.items[ITEM].to_numpy()
    found = figures_of(score_ranks(ids, nearest_content(shop), questions), questions)
    assert found["all_recall20"] > 2 * 20 / len(ids)
    assert shop.items[TEXT].iloc[0].dtype == np.float32
    assert isinstance(shop.clicks, pd.DataFrame)
