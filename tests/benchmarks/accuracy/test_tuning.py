"""V-SkNN's options are chosen on the validation stage, group by group."""

from benchmarks.accuracy.protocols import Stage
from benchmarks.accuracy.sessions import as_rows, every_prefix
from benchmarks.accuracy.tuning import around, tune
from benchmarks.accuracy.vsknn import Setting

GROUPS = [{"sample_size": (2, 4), "k": (1, 3)}, {"weighting": ("same", "div")}]


def stage():
    sessions = [[1, 2, 3], [1, 2, 4], [5, 6, 7], [5, 1, 2, 4], [2, 4], [6, 7]]
    training = as_rows(sessions)
    return Stage("toy", training, {}, training, every_prefix(as_rows([[1, 2, 4], [5, 6, 7]])))


def test_a_group_is_every_combination_but_more_neighbours_than_candidates():
    tried = list(around(Setting(idf_weighting=5.0), GROUPS[0]))
    assert [(setting.sample_size, setting.k) for setting in tried] == [(2, 1), (4, 1), (4, 3)]
    assert {setting.idf_weighting for setting in tried} == {5.0}


def test_the_best_setting_is_chosen_and_everything_tried_is_told():
    best, tried = tune(stage(), "mrr10", groups=GROUPS)
    figures = {
        tuple(entry[key] for key in ("sample_size", "k", "weighting")): entry["validation"]["mrr10"] for entry in tried
    }
    assert len(figures) == len(tried) >= 5
    assert figures[best.sample_size, best.k, best.weighting] == max(figures.values())
    assert (1000, 100, "div") in figures
