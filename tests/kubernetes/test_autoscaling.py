"""How pods are counted: the autoscaler, the adapter's rule and what Prometheus scrapes agree with each other and Triton."""

import re

import pytest
import yaml

from tests.support.deployments import FOLDER, OVERLAYS, ROOT, rendered, server, the

# Of Triton 24.10's metrics page, the ones that count up; serving_tests/measured/test_metric_names.py asks a running one.
COUNTERS = {
    "nv_inference_compute_infer_duration_us",
    "nv_inference_compute_input_duration_us",
    "nv_inference_compute_output_duration_us",
    "nv_inference_count",
    "nv_inference_exec_count",
    "nv_inference_queue_duration_us",
    "nv_inference_request_duration_us",
    "nv_inference_request_failure",
    "nv_inference_request_success",
}


def adapter_rule():
    (rule,) = yaml.safe_load((FOLDER / "prometheus-adapter-rule.yaml").read_text(encoding="utf-8"))["rules"]["custom"]
    return rule


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_the_autoscaler_counts_by_the_metric_that_the_adapter_makes(overlay, tmp_path):
    manifests = rendered(overlay, tmp_path)
    scaler = the("HorizontalPodAutoscaler", manifests)["spec"]
    target = the("Deployment", manifests)
    expected = {"apiVersion": target["apiVersion"], "kind": "Deployment", "name": target["metadata"]["name"]}
    assert scaler["scaleTargetRef"] == expected
    (metric,) = scaler["metrics"]
    assert metric["pods"]["metric"]["name"] == adapter_rule()["name"]["as"]
    assert metric["pods"]["target"]["type"] == "AverageValue"


def test_the_autoscaler_acts_before_a_fused_bundle_refuses(tmp_path):
    options = (ROOT / "export/nextitem_export/options.py").read_text(encoding="utf-8")
    max_queue_ms = int(re.search(r"max_queue_ms: int = (\d+)", options)[1])
    (metric,) = the("HorizontalPodAutoscaler", rendered("overlays/cpu", tmp_path))["spec"]["metrics"]
    assert 0 < int(metric["pods"]["target"]["averageValue"]) <= max_queue_ms * 1000 / 2


def test_the_adapters_rule_reads_tritons_counters():
    rule = adapter_rule()
    series = rule["seriesQuery"].split("{")[0]
    assert re.search(rule["name"]["matches"], series)
    read = re.findall(r"rate\((\w+)\{<<\.LabelMatchers>>\}\[1m\]\)", rule["metricsQuery"])
    assert read == ["nv_inference_queue_duration_us", "nv_inference_request_success"]
    assert {series, *read} <= COUNTERS
    assert "by (<<.GroupBy>>)" in rule["metricsQuery"]
    assert {"namespace", "pod"} == rule["resources"]["overrides"].keys()
    assert all(f'{label}!=""' in rule["seriesQuery"] for label in ("namespace", "pod"))


@pytest.mark.parametrize("overlay", OVERLAYS)
def test_prometheus_finds_the_metrics_often_enough(overlay, tmp_path):
    manifests = rendered(overlay, tmp_path)
    monitor = the("ServiceMonitor", manifests)["spec"]
    (endpoint,) = monitor["endpoints"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [
        each for each in manifests if each["kind"] == "Service" and wanted <= each["metadata"]["labels"].items()
    ]
    offering = [each for each in services if endpoint["port"] in [port["name"] for port in each["spec"]["ports"]]]
    assert len(offering) == 1, "a pod is scraped once"
    assert endpoint["path"] == "/metrics"
    window_s = 60 * int(re.search(r"\[(\d+)m\]", adapter_rule()["metricsQuery"])[1])
    assert window_s >= 4 * int(endpoint["interval"].removesuffix("s")), "rate() needs some scrapes in its window"


def test_without_prometheus_nothing_needs_it(tmp_path):
    manifests = rendered("overlays/cpu + without-prometheus", tmp_path)
    assert "ServiceMonitor" not in [each["kind"] for each in manifests]
    (metric,) = the("HorizontalPodAutoscaler", manifests)["spec"]["metrics"]
    assert metric["containerResource"]["container"] == server(manifests)["name"]
