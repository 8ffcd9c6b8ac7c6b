"""From trials to metrics, ratios, tables and a plot."""

import json
import math

import pytest

from benchmarks.serving.measures import Point
from benchmarks.serving.report import markdown, metrics_of, plot
from benchmarks.support.command_line import write_figures

TARGETS = {"rate_over_fastapi_ort": (">=", 1.5), "cpu_over_floor": ("<=", 1.5), "goodput_at_2x": (">=", 0.9)}


def point(rate, middle, cpu_us, goodput=0.0):
    latency = {"p50": middle, "p90": middle * 2, "p99": middle * 4, "p995": middle * 8}
    return Point(rate, latency, cpu_us, 60, 0.1, 0.0, goodput, 100)


def found():
    searched = {"p99_50ms": 1000.0, "p90_7ms": 500.0}
    slower = {"p99_50ms": 500.0, "p90_7ms": 0.0}
    return {
        "fixed": {
            "fused": {200: [point(200, 1, 900), point(200, 2, 1000), point(200, 9, 1100)], 1000: [point(1000, 3, 600)]},
            "noop": {200: [point(200, 1, 500)], 1000: [point(1000, 1, 300)]},
            "fastapi_ort": {50: [point(50, math.inf, 1)], 10: [point(10, 4, 3000)]},
        },
        "searched": {
            "fused": [searched, searched | {"p99_50ms": 1200.0}],
            "noop": [],
            "fastapi_ort": [slower],
            "ensemble": [slower | {"p99_50ms": 550.0}],
        },
        "many": [4_000.0, 5_000.0],
        "files": {
            "command": {"sessions_per_s": 4_000.0, "spread": 0.1},
            "onnxruntime": {"sessions_per_s": 5_000.0, "spread": 0.1},
        },
        "inprocess": {"p50_ms": 0.5, "graph_p50_ms": 0.4, "kernel_us": 300, "step_us": 450, "spread": {"p50_ms": 0.1}},
        "beyond": {"goodput_at_2x": 0.9512, "ensemble.goodput_at_2x": 0.1},
        "titles": {"fused": "nextitem, fused", "noop": "no-op", "fastapi_ort": "FastAPI"},
        "machine": {"processor": "P", "cores": 2, "load_1m": 0.1, "load_1m_at_the_end": 0.2},
        "size": {"rates": [50, 200, 1000], "rounds": 3},
        "idle_share_of_a_core": 0.01,
        "commit": "abc",
        "took_s": 60,
    }


@pytest.fixture
def report():
    full = found()
    full["searched"].pop("noop")
    return metrics_of(full, TARGETS)


def test_metrics_are_medians_over_rounds_with_their_spread(report):
    metrics, spread = report["metrics"], report["spread"]
    assert metrics["fused.p50_ms_at_200"] == metrics["fused.p50_ms"] == 2
    assert metrics["fused.p995_ms_at_1000"] == 24
    assert spread["fused.p50_ms"] == 4.0
    assert metrics["fused.max_rate_p99_50ms"] == 1100
    assert spread["fused.max_rate_p99_50ms"] == pytest.approx(0.18)


def test_a_server_too_slow_for_the_common_rate_is_told_at_the_slow_one(report):
    assert report["metrics"]["fastapi_ort.cpu_us"] == 3000
    assert report["metrics"]["fastapi_ort.p50_ms_at_50"] == math.inf


def test_ratios_and_targets(report):
    metrics = report["metrics"]
    assert metrics["rate_over_fastapi_ort"] == 2.2
    assert metrics["cpu_over_floor"] == 1.25  # 1000 over 500 + 300
    assert metrics["cpu_over_floor_at_1000"] == 1.0
    assert metrics["goodput_at_2x"] == 0.951
    assert metrics["ensemble_over_fused"] == 0.5
    assert metrics["many.sessions_per_s"] == 4_500
    assert metrics["bulk_over_onnxruntime"] == 0.8
    assert report["met"] == dict.fromkeys(TARGETS, True)


def test_a_missed_target_says_no():
    missed = found()
    missed["searched"] = {"fused": [{"p99_50ms": 600.0, "p90_7ms": 0.0}]}
    missed["beyond"] = {"goodput_at_2x": 0.2}
    missed["searched"]["fastapi_ort"] = [{"p99_50ms": 500.0, "p90_7ms": 0.0}]
    report = metrics_of(missed, TARGETS)
    assert report["met"] == {"rate_over_fastapi_ort": False, "cpu_over_floor": True, "goodput_at_2x": False}
    assert "| `rate_over_fastapi_ort` | >= 1.5 | 1.20 | NO |" in markdown(report)


def test_a_target_that_was_not_measured_is_not_missed():
    few = found() | {"searched": {}}
    text = markdown(metrics_of(few, TARGETS))
    assert "| `rate_over_fastapi_ort` | >= 1.5 |  | not measured |" in text


def test_the_tables_show_every_server_and_what_was_never_answered(report):
    text = markdown(report)
    assert "| nextitem, fused `fused` | 1,100 | 500 | 1,000 | 100 |" in text
    assert "| `fastapi_ort` | ∞ / ∞ / ∞ / ∞ |  |  |" in text
    assert "commit abc; 3 rounds, 1 minutes." in text


def test_the_plot_is_written(report, tmp_path):
    plot(report, tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_the_stored_report_is_json_without_infinity(report, tmp_path):
    write_figures(report, tmp_path / "figures.json")
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["metrics"]["fastapi_ort.p50_ms_at_50"] is None
