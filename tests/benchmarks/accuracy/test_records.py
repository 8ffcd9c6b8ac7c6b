"""Several data sets share a file of results; a configuration that is tried again is noted once."""

import json

from benchmarks.accuracy.records import append_tried, merge, table


def test_data_sets_and_parts_do_not_lose_each_others_figures(tmp_path):
    file = tmp_path / "results" / "accuracy.json"
    merge(file, "beauty", {"vsknn": {"ndcg10": 0.1}}, {"baselines": {"took_s": 1}})
    merge(file, "diginetica", {"model": {"recall20": 0.5}}, {"model": {"took_s": 2}})
    merge(file, "beauty", {"model": {"ndcg10": 0.2}}, {"model": {"took_s": 3}})
    merge(file, "beauty", {"model": {"ndcg10": 0.3}}, {"model": {"took_s": 4}})
    found = json.loads(file.read_text())
    assert found["metrics"] == {"beauty.ndcg10": 0.3, "beauty.vsknn.ndcg10": 0.1, "diginetica.recall20": 0.5}
    assert found["datasets"]["beauty"] == {"baselines": {"took_s": 1}, "model": {"took_s": 4}}


def test_a_configuration_is_noted_once_and_others_are_kept(tmp_path):
    file = tmp_path / "tried.json"
    entry = {"dataset": "beauty", "quick": False, "seed": 1, "configuration": {"model": {"d_model": 32}}}
    append_tried(file, {**entry, "validation": 1})
    append_tried(file, {**entry, "seed": 2, "validation": 2})
    append_tried(file, {**entry, "validation": 3})
    assert [(old["seed"], old["validation"]) for old in json.loads(file.read_text())] == [(2, 2), (1, 3)]


def test_the_table_is_in_per_cent():
    shown = table("title", ["recall20"], {"model": {"recall20": 0.5271, "mrr20": 0.1}})
    assert list(shown.columns[1].cells) == ["52.71"]
