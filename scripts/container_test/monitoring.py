"""Profile `monitoring`: Prometheus sees every server, and every panel of the dashboard has something to show."""

import json
import time
import urllib.parse
from collections.abc import Iterator

from .console import fail, say
from .engine import ROOT
from .project import Project, get_json, status_of, wait_for

DASHBOARD = ROOT / "deploy/grafana/dashboards/nextitem.json"
WINDOW = "30s"


def queries() -> Iterator[tuple[str, str, str]]:
    """Row, panel and PromQL of each target of the dashboard, its variables filled in as Grafana does."""
    row = ""
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        if panel["type"] == "row":
            row = panel["title"]
        for target in panel.get("targets", []):
            yield row, panel["title"], target["expr"].replace("$__rate_interval", WINDOW).replace("$model", ".*")


def check_monitoring(project: Project, servers: int) -> None:
    """Bring Prometheus up beside what runs, and wait until it sees all of it."""
    project.up("prometheus")
    wait_for("that Prometheus answers", lambda: status_of(project.url("PROMETHEUS_PORT", "/-/ready")) == 200, 60)
    wait_for(
        f"that Prometheus sees {servers} servers", lambda: len(_ask(project, 'up{job="triton"} == 1')) == servers, 60
    )
    wait_for(
        "that Prometheus sees the load balancer", lambda: len(_ask(project, 'up{job="load-balancer"} == 1')) == 1, 60
    )


def check_dashboard(project: Project) -> None:
    """Every panel's query must bring numbers, those of nextitem's own metrics too."""
    found: dict[str, int] = {}
    empty = []
    for row, panel, query in queries():
        values = [float(one["value"][1]) for one in _ask(project, query)]
        if any(value == value for value in values):  # NaN is no number
            found[row] = found.get(row, 0) + 1
        else:
            empty.append(f"{row}, {panel}: {query}")
    if empty:
        fail("panels of the dashboard without data:\n" + "\n".join(empty))
    told = ", ".join(f"{row} {count}" for row, count in found.items())
    say(f"Prometheus answers all {sum(found.values())} queries of the dashboard with data: {told}")


def _ask(project: Project, query: str) -> list[dict]:
    """An instant query's results; fails where Prometheus refuses it."""
    path = "/api/v1/query?" + urllib.parse.urlencode({"query": query, "time": time.time()})
    try:
        return get_json(project.url("PROMETHEUS_PORT", path))["data"]["result"]
    except OSError as error:
        fail(f"Prometheus refuses {query}: {error}")
