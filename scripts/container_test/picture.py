"""Prometheus' own graph page as a picture, for docs/operating.md."""

import shutil
import subprocess
import urllib.parse
from pathlib import Path

from .console import fail, say
from .project import Project

WIDTH, HEIGHT = 1300, 2270
#: The dashboard's queries that show what the container test did.
GRAPHS = (
    'sum by (instance) (rate(nv_inference_request_success{model="shop"}[15s]))',
    'max by (quantile) (nv_inference_request_summary_us{model="shop", quantile=~"0.5|0.9|0.99"})',
    'sum by (proxy) (haproxy_server_status{proxy="http", state="UP"})',
)


def draw(project: Project, file: Path) -> None:
    """Photograph the graphs of the last minute and a quarter with chromium, which must be there."""
    browser = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if browser is None:
        fail("--picture needs chromium (Debian: apt-get install chromium).")
    words = {}
    for number, query in enumerate(GRAPHS):
        words |= {f"g{number}.expr": query, f"g{number}.tab": "0", f"g{number}.range_input": "75s"}
    address = project.url("PROMETHEUS_PORT", "/graph?" + urllib.parse.urlencode(words))
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-proxy-server"]
    options += [f"--window-size={WIDTH},{HEIGHT}", "--virtual-time-budget=15000", f"--screenshot={file.resolve()}"]
    subprocess.run([browser, *options, address], check=True, capture_output=True, timeout=120)
    say(f"{file}: {file.stat().st_size // 1024} KB")
