"""HTTP libraries under the client: the same request to the same server by each, one after the other.

    python -m benchmarks.client.libraries [--quick | --smoke] [--json FILE]

A real Triton serves the nearly empty model of transports.py. Each way sends one whole request of the client's and reads
the answer, without encoding sessions. httpx is measured where it is installed (pip install httpx): it is none of ours.
"""

from __future__ import annotations

import argparse
import http.client
import statistics
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.client.transports import INTERACTIONS, K, write_model
from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.measuring import Timed, commit, in_rounds, machine
from nextitem_bundle.signature import PARAMETER
from nextitem_client._settings import Settings
from nextitem_client._signature import parse_signature
from nextitem_client._transport import Inference
from nextitem_client._transport.address import parse_url
from nextitem_client._transport.http import HttpCodec, HttpRequest
from nextitem_client._transport.http_sync import HttpTransport
from nextitem_client._wire import build_requests
from nextitem_server import TritonServer

#: Rounds, and seconds of each way in each.
FULL, QUICK, SMOKE = (41, 0.5), (15, 0.3), (2, 0.05)
#: What a library may cost to take the place of a pool of our own: ms of the median, and the share of the rate that is left.
MOST_MS, LEAST_RATE = 0.15, 0.85


def main() -> int:
    """Run the benchmark and print the table."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="short rounds: half a minute")
    given = parser.parse_args()
    rounds, round_s = of_extent(given, full=FULL, quick=QUICK, smoke=SMOKE)
    with tempfile.TemporaryDirectory() as folder:
        write_model(Path(folder), "words", "string", "BYTES")
        with TritonServer(folder, options=["--disable-auto-complete-config"]) as server:
            timed = in_rounds(_ways(server.http_url), rounds=rounds, round_s=round_s, progress=lambda: None)
    report = {
        "metrics": metrics_of(timed),
        "rounds": rounds,
        "commit": commit(),
        "machine": machine(["urllib3", "nvidia-pytriton"]),
    }
    for name, value in report["metrics"].items():
        print(f"{name:>24} {value:10.3f}")
    write_figures(report, given.json)
    return 0


def metrics_of(timed: dict[str, Timed]) -> dict[str, float]:
    """Each way's median in ms; what it costs beyond http.client, and the share of its rate: medians over the rounds."""
    base = timed["http_client"].rounds
    found: dict[str, float] = {}
    for name, one in timed.items():
        found[f"{name}_ms"] = one.us / 1e3
        found[f"{name}_more_ms"] = statistics.median(a - b for a, b in zip(one.rounds, base, strict=True)) / 1e3
        found[f"{name}_rate_share"] = statistics.median(b / a for a, b in zip(one.rounds, base, strict=True))
    return found


def _ways(url: str) -> dict[str, list[Callable[[], Any]]]:
    address, settings = parse_url(url), Settings()
    codec, ours = HttpCodec(address, settings), HttpTransport(address, settings)
    signature = parse_signature(ours.model_parameters("words", 10.0)[PARAMETER], "words")
    session = {
        "item_id": [f"item-{column:08d}" for column in range(INTERACTIONS)],
        "timestamp": [1_714_557_600_000_000_000 + column for column in range(INTERACTIONS)],
        "price": [9.5] * INTERACTIONS,
    }
    (tensors,) = build_requests([session], signature, K)
    request = codec.infer_request(Inference("words", tensors, ("item_ids", "scores", "status"), "0"))
    ways = {"http_client": _http_client(address.host, address.port), "urllib3": ours.exchange}
    called: dict[str, list[Callable[[], Any]]] = {
        name: [lambda way=way: way(request, 10.0)] for name, way in ways.items()
    }
    try:
        import httpx  # pyright: ignore[reportMissingImports]
    except ImportError:
        return called
    client = httpx.Client(base_url=url, trust_env=False)
    called["httpx"] = [
        lambda: (
            client.request(request.method, request.path, content=request.body, headers=dict(request.headers)).content
        )
    ]
    return called


def _http_client(host: str, port: int) -> Callable[[HttpRequest, float], bytes]:
    connection = http.client.HTTPConnection(host, port, timeout=10)

    def exchange(request: HttpRequest, timeout_s: float) -> bytes:
        connection.request(request.method, request.path, request.body, dict(request.headers))
        return connection.getresponse().read()

    return exchange


if __name__ == "__main__":
    raise SystemExit(main())
