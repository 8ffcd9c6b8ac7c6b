"""Every metric of Triton that deploy/kubernetes/ reads is one that a running Triton writes."""

import re
import urllib.request

from nextitem_server import TritonServer
from serving_tests.support.made.shop import ROOT

NAME = re.compile(r"\bnv_\w+")


def test_kubernetes_reads_what_triton_writes(server: TritonServer):
    used = {
        name: path
        for path in (ROOT / "deploy" / "kubernetes").rglob("*.yaml")
        for name in NAME.findall(path.read_text(encoding="utf-8"))
    }
    assert "nv_inference_queue_duration_us" in used
    with urllib.request.urlopen(server.metrics_url, timeout=10) as page:
        written = set(NAME.findall(page.read().decode()))
    assert {name: path for name, path in used.items() if name not in written} == {}
