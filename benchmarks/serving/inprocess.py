"""The floor in a process: the fused graph by ONNX Runtime on one thread, one session after the other.

    python -m benchmarks.serving.inprocess REPOSITORY ROUNDS ROUND_S ITEMS

ITEMS is how many the shop has, whose sessions are asked.

Prints JSON: `p50_ms`, the whole step as Triton's Python backend calls it, with the request's checks; `graph_p50_ms` and
`kernel_us`, the graph alone, as it passed and as processor time; each with its `spread` over the rounds.
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.serving.bundles import NAME
from benchmarks.serving.checkpoint import K, Shop, sessions
from benchmarks.support.measuring import Timed, in_rounds
from nextitem_bundle.runtime.step import open_step
from nextitem_client import Signature
from nextitem_client._signature import parse_signature
from nextitem_client._wire import build_requests

REQUESTS = 100


def main() -> None:
    """Time the bundle's one step."""
    repository, rounds, round_s = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    shop = Shop(items=int(sys.argv[4]))
    (settings,) = repository.glob(f"{NAME}/*/step.json")
    step: Any = open_step(settings.parent)
    document = json.loads(settings.read_text(encoding="utf-8"))["signature"]
    requests = _requests(parse_signature(json.dumps(document), NAME), shop)
    graph, inputs = graph_calls(step, requests)
    ways: dict[str, Sequence[Callable[[], Any]]] = {
        "step": [lambda tensors=tensors: step.run(tensors) for tensors in requests],
        "graph": [lambda values=values: graph.run(None, values) for values in inputs],
    }
    timed = in_rounds(ways, rounds=rounds, round_s=round_s, progress=lambda: None)
    print(json.dumps(_described(timed)))


def _requests(signature: Signature, shop: Shop) -> list[dict[str, np.ndarray]]:
    requests = []
    for session in sessions(REQUESTS, shop, seed=11):
        (tensors,) = build_requests([session], signature, K)
        requests.append(tensors)
    return requests


def graph_calls(step: Any, requests: Sequence[dict[str, np.ndarray]]) -> tuple[Any, list[dict[str, Any]]]:
    """ONNX Runtime's session and what the step gives it for each request, listened to while the step runs."""
    graph = step._core._graph._session
    inputs: list[dict[str, Any]] = []

    class Listening:
        def run(self, names: Any, values: dict[str, Any]) -> Any:
            inputs.append(dict(values))
            return graph.run(names, values)

    step._core._graph._session = Listening()
    for tensors in requests:
        step.run(tensors)
    step._core._graph._session = graph
    return graph, inputs


def _described(timed: dict[str, Timed]) -> dict[str, Any]:
    busy = timed["graph"].busy
    return {
        "p50_ms": round(timed["step"].us / 1e3, 3),
        "step_us": round(statistics.median(timed["step"].busy)),
        "graph_p50_ms": round(timed["graph"].us / 1e3, 3),
        "kernel_us": round(statistics.median(busy)),
        "spread": {
            "p50_ms": round(timed["step"].spread, 2),
            "kernel_us": round((max(busy) - min(busy)) / statistics.median(busy), 2),
        },
    }


if __name__ == "__main__":
    main()
