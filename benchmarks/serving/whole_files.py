"""`nextitem-recommend --bundle` on a file of sessions, beside plain ONNX Runtime on batches that are ready.

    python -m benchmarks.serving.whole_files REPOSITORY ROUNDS SESSIONS ITEMS

ITEMS is how many the shop has, whose sessions are asked.

Prints JSON: sessions a second by `nextitem-recommend`, from its start to the finished file, and by the bundle's graph alone on
one thread, which is given the same sessions as encoded batches; each the median over the rounds, with its spread.
"""

from __future__ import annotations

import json
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.serving.bundles import NAME
from benchmarks.serving.checkpoint import BIN, K, Shop, sessions
from benchmarks.serving.inprocess import graph_calls
from benchmarks.support.own_process import run_quietly
from nextitem_bundle.runtime.step import open_step
from nextitem_client._signature import parse_signature
from nextitem_client._wire import build_requests


def main() -> None:
    """Time both in turn."""
    repository, rounds, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    asked = sessions(count, Shop(items=int(sys.argv[4])), seed=13)
    graph, batches = _batches(repository, asked)
    with tempfile.TemporaryDirectory() as folder:
        given = Path(folder) / "sessions.parquet"
        _frame(asked).to_parquet(given)
        command: list[str | Path] = [BIN / "nextitem-recommend", "--bundle", repository / NAME, "--sessions", given]
        command += ["--output", Path(folder) / "recommendations.parquet", "--k", str(K), "--overwrite", "--no-progress"]
        ways: dict[str, Callable[[], Any]] = {
            "command": lambda: run_quietly(command),
            "onnxruntime": lambda: [graph.run(None, batch) for batch in batches],
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, way in ways.items():
                rates[name].append(count / _seconds(way))
    print(json.dumps({name: _described(values) for name, values in rates.items()}))


def _batches(repository: Path, asked: Sequence[dict[str, list[Any]]]) -> tuple[Any, list[dict[str, Any]]]:
    """ONNX Runtime's session and its inputs, a batch for each full request of the client's."""
    (settings,) = repository.glob(f"{NAME}/*/step.json")
    signature = parse_signature(json.dumps(json.loads(settings.read_text(encoding="utf-8"))["signature"]), NAME)
    size = signature.max_sessions_per_request
    requests = []
    for start in range(0, len(asked), size):
        (tensors,) = build_requests(asked[start : start + size], signature, K)
        requests.append(tensors)
    return graph_calls(open_step(settings.parent), requests)


def _frame(asked: Sequence[dict[str, list[Any]]]) -> pd.DataFrame:
    rows = pd.concat([pd.DataFrame(columns).assign(session_id=number) for number, columns in enumerate(asked)])
    return rows.assign(timestamp=pd.to_datetime(rows.timestamp)).reset_index(drop=True)


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def _described(rates: Sequence[float]) -> dict[str, float]:
    middle = statistics.median(rates)
    return {"sessions_per_s": round(middle, 1), "spread": round((max(rates) - min(rates)) / middle, 2)}


if __name__ == "__main__":
    main()
