"""The search for settings, with servers that are formulas."""

from __future__ import annotations

import itertools

import pytest

from nextitem_export import ExportError, ExportOptions, export_bundle
from nextitem_export.tuning import check_tunable
from nextitem_export.tuning.search import LADDERS, Figures, search

START = {"instances": 1, "threads": 1, "preferred_batch_size": 32, "max_queue_delay_us": 0}


def figures(throughput, *, p90_ms=10.0, alone_ms=1.0):
    return Figures(throughput, p90_ms / 2, p90_ms, p90_ms * 2, alone_ms)


def found(measure, *, free=LADDERS, start=START, cores=8, bound=50.0, sessions=64):
    return search(start, free, measure, cores=cores, p90_bound_ms=bound, most_sessions=sessions)


def test_the_best_is_found_along_each_option():
    def measure(settings):
        gain = {1: 1.0, 2: 1.5, 4: 2.0, 8: 1.9}[settings["instances"]]
        gain *= {8: 1.2, 16: 1.1, 32: 1.0, 64: 0.9}[settings["preferred_batch_size"]]
        return figures(1000 * gain * (0.8 if settings["max_queue_delay_us"] else 1))

    best, tried = found(measure)
    assert best == {"instances": 4, "threads": 1, "preferred_batch_size": 8, "max_queue_delay_us": 0}
    assert tried[0].settings == START
    assert len(tried) < 30


def test_options_that_are_given_stay():
    best, tried = found(lambda s: figures(1000 * s["instances"] * s["threads"]), free={"threads"})
    assert best == START | {"threads": 8}
    assert {one.settings["instances"] for one in tried} == {1}


def test_noise_moves_nothing():
    noise = itertools.cycle([1.0, 1.3, 0.7, 1.1, 0.9, 1.4, 0.8])
    best, _ = found(lambda settings: figures(1000 * next(noise)))
    assert best == START


def test_a_gain_within_the_margin_is_not_worth_a_change():
    assert found(lambda s: figures(1000 + 40 * (s["instances"] > 1)))[0] == START
    assert found(lambda s: figures(1000 + 60 * (s["instances"] > 1)))[0]["instances"] == 2


def test_a_win_that_does_not_repeat_is_not_kept():
    lucky = iter([2000.0])
    best, tried = found(lambda s: figures(next(lucky, 900.0) if s["instances"] > 1 else 1000.0))
    assert best == START
    assert sum(one.settings["instances"] == 2 for one in tried) == 2


def test_more_answers_are_not_bought_with_times_beyond_the_bound():
    assert found(lambda s: figures(1000 * s["instances"], p90_ms=30.0 * s["instances"]))[0]["instances"] == 1


def test_where_all_are_beyond_the_bound_the_quickest_is_kept():
    best, _ = found(lambda s: figures(1000 / s["threads"], p90_ms=800.0 / s["threads"]), free={"threads"})
    assert best["threads"] == 8


def test_a_lone_request_may_not_become_slower():
    measure = {0: figures(1000, alone_ms=1.0), 200: figures(2000, alone_ms=1.2)}
    assert found(lambda s: measure[s["max_queue_delay_us"]])[0] == START
    measure[200] = figures(2000, alone_ms=1.05)
    assert found(lambda s: measure[s["max_queue_delay_us"]])[0]["max_queue_delay_us"] == 200


@pytest.mark.parametrize("cores", [1, 2, 4])
def test_threads_and_processes_together_are_no_more_than_the_cores(cores):
    _, tried = found(lambda s: figures(1000 * s["instances"] * s["threads"]), cores=cores)
    assert max(one.settings["instances"] * one.settings["threads"] for one in tried) == cores


def test_no_batch_is_tried_that_is_larger_than_a_request_may_be():
    _, tried = found(lambda s: figures(s["preferred_batch_size"]), sessions=32)
    assert max(one.settings["preferred_batch_size"] for one in tried) == 32


def test_a_change_is_measured_in_turn_with_what_it_would_replace():
    _, tried = found(lambda s: figures(1000 * s["instances"]), cores=2, free={"instances"})
    assert [one.settings["instances"] for one in tried] == [1, 1, 2, 1, 2]


def test_nothing_to_choose_and_unknown_options_are_refused():
    with pytest.raises(ExportError, match=r"^tune has nothing to choose: instances, threads, .* are all given$"):
        check_tunable(())
    with pytest.raises(ExportError, match="cannot tune colour, known are instances, "):
        check_tunable({"colour"})


def test_without_the_server_s_command_there_is_a_sentence(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.executable", str(tmp_path / "python"))
    with pytest.raises(ExportError, match="tune measures with the command nextitem-serve, which is not installed here"):
        check_tunable(LADDERS)


def test_native_bundles_are_not_tuned(shop, frame, workflow, tmp_path):
    with pytest.raises(
        ExportError, match=r"has none of Triton's own backends: export with ExportOptions\(runtime='python'\)"
    ):
        export_bundle(
            shop.model_for(workflow), workflow, frame, repository=tmp_path, name="shop",
            options=ExportOptions(runtime="native"), tune={"threads"},
        )  # fmt: skip
