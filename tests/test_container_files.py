"""docker-compose.yml, the dashboard and scripts/test-container, as far as no container engine is needed."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from scripts.container_test import monitoring
from scripts.container_test.readme import readme_request

ROOT = Path(__file__).parents[1]
SERVICES = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
#: What Triton 24.10 and HAProxy say of themselves, and what the server is to say.
METRICS = {
    *("nv_inference_request_success", "nv_inference_request_failure", "nv_inference_request_summary_us"),
    *("nv_inference_request_duration_us", "nv_inference_queue_duration_us", "nv_inference_compute_infer_duration_us"),
    *("nv_inference_count", "nv_inference_exec_count", "nv_inference_pending_request_count"),
    *("nv_cpu_utilization", "nv_cpu_memory_used_bytes", "nv_cpu_memory_total_bytes", "up"),
    *("haproxy_server_http_responses_total", "haproxy_frontend_http_responses_total", "haproxy_server_status"),
    *("haproxy_backend_retry_warnings_total", "haproxy_backend_redispatch_warnings_total"),
    *("nextitem_sessions_total", "nextitem_interactions_total", "nextitem_items_returned_total"),
    *("nextitem_session_length_bucket", "nextitem_catalogue_items", "nextitem_catalogue_created_seconds"),
}


@pytest.mark.parametrize("name", SERVICES)
def test_no_service_may_do_more_than_it_must(name):
    service = SERVICES[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    for port in service.get("ports", []):
        # What can be opened is the load balancer alone, which bounds requests.
        assert port.startswith("${BIND_ADDRESS:-127.0.0.1}:" if name == "load-balancer" else "127.0.0.1:"), port


@pytest.mark.parametrize("name", SERVICES)
def test_images_can_be_replaced_and_others_are_pinned(name):
    match = re.fullmatch(r"\$\{[A-Z_]+_IMAGE:-([\w./-]+)(:[\w.-]+)?\}", SERVICES[name]["image"])
    assert match, SERVICES[name]["image"]
    assert match[1].startswith("nextitem-server") or re.search(r"\d+\.\d+\.\d+", match[2])


def test_replicas_and_what_watches_are_asked_for_by_name():
    assert {name: service.get("profiles") for name, service in SERVICES.items()} == {
        "server": None,
        "server-gpu": ["gpu"],
        "replica": ["replicas"],
        "load-balancer": ["replicas"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    assert "ports" not in SERVICES["replica"]


def test_every_variable_is_told_at_the_head():
    text = (ROOT / "docker-compose.yml").read_text()
    head, body = text.split("\n\nx-", 1)
    assert set(re.findall(r"\$\{([A-Z_]+)", body)) <= set(re.findall(r"[A-Z_]{4,}", head))


def test_the_dashboard_asks_for_metrics_that_there_are():
    asked = {
        name
        for _, _, query in monitoring.queries()
        for name in re.findall(r"\b(?:nv|haproxy|nextitem)_\w+|\bup\b", query)
    }
    assert asked == METRICS
    assert {row for row, _, query in monitoring.queries() if "nextitem_" in query} == {"Sessions"}


def test_panels_lie_beside_each_other():
    taken = set()
    for panel in json.loads(monitoring.DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not taken & cells, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells


def test_where_no_engine_works_the_container_test_says_so_and_fails(tmp_path):
    for tool in ("curl", "openssl"):
        (tmp_path / tool).symlink_to("/bin/true")
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/test-container"], env={"PATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "test-container: no container engine works here. Install Docker with its Compose plugin" in done.stderr
    (tmp_path / "curl").unlink()
    done = subprocess.run(
        [sys.executable, ROOT / "scripts/test-container"], env={"PATH": str(tmp_path)}, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip
    assert "test-container: curl is needed, because the README asks with it." in done.stderr


def test_the_contract_is_not_asked_of_models_from_elsewhere():
    for options in (["--only", "contract"], ["--made", "there"]):
        done = subprocess.run(
            [sys.executable, ROOT / "scripts/test-container", "--repository", "models", *options],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == 2
        assert "need what they were made from: give --made, not --repository" in done.stderr


def test_a_readme_without_a_request(tmp_path):
    readme = tmp_path / "README.md"
    with pytest.raises(SystemExit, match="has no code block after"):
        readme_request(readme)
    readme.write_text("<!-- test: curl -->\n```sh\ncurl http://127.0.0.1:8000/v2\n```\n")
    with pytest.raises(SystemExit, match="the request asks no model"):
        readme_request(readme)
    assert readme_request(ROOT / "README.md")[1] == "shop"
