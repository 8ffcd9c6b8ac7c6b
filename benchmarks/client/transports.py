"""The client's ways to a server on the same host: HTTP and gRPC, each as it is and with gzip.

    python -m benchmarks.client.transports [--quick | --smoke] [--json FILE]

A real Triton serves a model that looks at two small tensors and answers the same items to everybody, so that the way there
and back is nearly all that differs. Calls are the client's whole recommend_many(): encoding sessions, the request, the answer.
Rounds take turns.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.measuring import Timed, commit, in_rounds, machine
from nextitem_bundle.signature import FORMAT_VERSION
from nextitem_client import Client
from nextitem_server import TritonServer

K, INTERACTIONS, BATCH = 20, 20, 64
WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "http": ("http", {}),
    "http_gzip": ("http", {"compression": "gzip"}),
    "grpc": ("grpc", {}),
    "grpc_gzip": ("grpc", {"compression": "gzip"}),
}
# suffix of the metrics → title, sessions, ids that each session excludes
CASES = {
    "b1": ("1 session of 20 interactions", 1, 0),
    "b64": ("64 sessions of 20 interactions", BATCH, 0),
    "b64_exclude": ("64 sessions, 1,000 ids excluded in each", BATCH, 1000),
    "b64_numbers": ("64 sessions, ids are integers, 1,000 excluded in each", BATCH, 1000),
}
MODEL = """
import numpy as np
import triton_python_backend_utils as pb


class TritonPythonModel:
    def execute(self, requests):
        return [self.answer(request) for request in requests]

    def answer(self, request):
        rows = len(pb.get_input_tensor_by_name(request, "session_length").as_numpy())
        k = int(pb.get_input_tensor_by_name(request, "top_k").as_numpy()[0, 0])
        best = ITEMS[:k]
        scores = np.linspace(1, 0, k, dtype=np.float32)
        return pb.InferenceResponse([
            pb.Tensor("item_ids", np.tile(best, (rows, 1))),
            pb.Tensor("scores", np.tile(scores, (rows, 1))),
            pb.Tensor("status", np.full((rows, 1), b"ok", dtype=object)),
        ])


"""
ITEMS = {
    "BYTES": 'ITEMS = np.array([b"item-%08d" % number for number in range(100)], dtype=object)\n',
    "INT64": "ITEMS = np.arange(100, dtype=np.int64)\n",
}


def main() -> int:
    """Run the benchmark and print the table."""
    arguments = _arguments()
    rounds, round_s = of_extent(arguments, full=(15, 1.0), quick=(5, 0.3), smoke=(1, 0.01))
    report: dict[str, Any] = {"metrics": {}, "spread": {}, "rounds": rounds, "commit": commit()}
    report["machine"] = machine(["tritonclient", "numpy", "grpcio", "nvidia-pytriton"])
    with tempfile.TemporaryDirectory() as folder, Progress(console=Console(stderr=True)) as progress:
        task = progress.add_task("", total=len(CASES) * rounds * len(WAYS))
        for name, kind, datatype in (("words", "string", "BYTES"), ("numbers", "integer", "INT64")):
            write_model(Path(folder), name, kind, datatype)
        with TritonServer(folder, options=["--disable-auto-complete-config"]) as server:
            for suffix, (title, sessions, excluded) in CASES.items():
                progress.update(task, description=title)
                model = "numbers" if suffix.endswith("numbers") else "words"
                timed = _times(
                    server, model, sessions, excluded, rounds, round_s, lambda: progress.update(task, advance=1)
                )
                for way, found in timed.items():
                    report["metrics"][f"{way}_us_{suffix}"] = round(found.us, 1)
                    report["spread"][f"{way}_us_{suffix}"] = round(found.spread, 3)
    report["machine"]["load_1m_at_the_end"] = machine([])["load_1m"]
    _print(report)
    write_figures(report, arguments.json)
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="five short rounds: under a minute")
    return parser.parse_args()


def _times(
    server: TritonServer, model: str, sessions: int, excluded: int, rounds: int, round_s: float, progress: Any
) -> dict[str, Timed]:
    def item(number: int) -> Any:
        return number if model == "numbers" else f"item-{number:08d}"

    asked = [
        {
            "item_id": [item(1000 * row + column) for column in range(INTERACTIONS)],
            "timestamp": [1_714_557_600_000_000_000 + column for column in range(INTERACTIONS)],
            "price": [9.5] * INTERACTIONS,
        }
        for row in range(sessions)
    ]
    filters: dict[str, Any] = (
        {"exclude": [[item(5000 * row + at) for at in range(excluded)] for row in range(sessions)]} if excluded else {}
    )
    with contextlib.ExitStack() as stack:
        calls: dict[str, list[Any]] = {}
        for name, (protocol, options) in WAYS.items():
            client = stack.enter_context(Client(getattr(server, f"{protocol}_url"), model, **options))
            calls[name] = [lambda client=client: client.recommend_many(asked, K, **filters)]
        return in_rounds(calls, rounds=rounds, round_s=round_s, progress=progress)


def write_model(repository: Path, name: str, kind: str, datatype: str) -> None:
    """A model that answers the same items to everybody. kind, datatype: of its item column."""
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "1" / "model.py").write_text(MODEL + ITEMS[datatype], encoding="utf-8")
    features = [("item_id", datatype, kind), ("timestamp", "INT64", "datetime"), ("price", "FP32", "float")]
    signature = {
        "format_version": FORMAT_VERSION, "bundle_version": 1, "window": INTERACTIONS, "max_sessions_per_request": BATCH,
        "max_interactions_per_session": 10_000, "max_id_bytes": 64, "top_k": {"default": K, "limit": 100},
        "item_column": "item_id",
        "features": [{"name": one, "datatype": type_, "kind": kind_} for one, type_, kind_ in features],
        "options": ["session_length", "top_k", "exclude_item_ids"],
    }  # fmt: skip
    inputs = [(one, type_, "-1, -1") for one, type_, _ in features]
    inputs += [
        ("session_length", "INT32", "-1, 1"),
        ("top_k", "INT32", "-1, 1"),
        ("exclude_item_ids", datatype, "-1, -1"),
    ]
    outputs = [("item_ids", datatype, "-1, -1"), ("scores", "FP32", "-1, -1"), ("status", "BYTES", "-1, 1")]

    def described(kind: str, tensors: list[tuple[str, str, str]], more: str) -> list[str]:
        return [
            f'{kind} [ {{ name: "{one}" data_type: TYPE_{type_.replace("BYTES", "STRING")} dims: [{dims}] {more} }} ]'
            for one, type_, dims in tensors
        ]

    lines = [f'name: "{name}"', 'backend: "python"', "max_batch_size: 0"]
    lines += [*described("input", inputs, "optional: true"), *described("output", outputs, "")]
    lines.append("instance_group [ { kind: KIND_CPU count: 1 } ]")
    text = json.dumps(json.dumps(signature))
    lines.append(f'parameters {{ key: "nextitem.signature" value: {{ string_value: {text} }} }}')
    (repository / name / "config.pbtxt").write_text("\n".join(lines), encoding="utf-8")


def _print(report: dict[str, Any]) -> None:
    table = Table(title=f"ms per call, median of {report['rounds']} rounds (spread of the rounds)")
    table.add_column("")
    for way in WAYS:
        table.add_column(way.replace("_", " "), justify="right")
    for suffix, (title, _, _) in CASES.items():
        cells = [
            f"{report['metrics'][f'{way}_us_{suffix}'] / 1e3:.2f} ({report['spread'][f'{way}_us_{suffix}']:.0%})"
            for way in WAYS
        ]
        table.add_row(title, *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    raise SystemExit(main())
