"""How many steps does a model need that starts from yesterday's, against one that starts from nothing?

    python benchmarks/retraining.py [--json FILE]

The demo's clicks: yesterday's data ends some weeks before today's, and both runs hold out their own last days. Yesterday's
model is trained as the demo is. Then today's data is trained on for more and more epochs, from scratch and from yesterday's
run, each time with a whole learning-rate schedule, until the recall on today's held-out sessions is what yesterday's model had.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd
from rich.console import Console
from rich.table import Table

from measuring import commit, machine

ROOT = Path(__file__).parents[1]
EPOCHS = (1, 2, 3, 4, 6, 8, 12, 16, 25)
METRIC = "recall@20"
YESTERDAY = "2008-07-28"


def main() -> int:
    """Run the comparison; returns 0 where the warm start needs at most half the epochs."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures here")
    arguments = parser.parse_args()
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clicks[clicks.timestamp < YESTERDAY].to_parquet(folder / "yesterday.parquet")
        clicks.to_parquet(folder / "today.parquet")
        before = _recall(folder, "yesterday", "old", epochs=None)
        found = {
            way: _until(folder, way, before, ["--init-from", str(folder / "old")] if way == "warm" else [])
            for way in ("warm", "scratch")
        }
    _show(before, found)
    needed = {way: list(tried)[-1] for way, tried in found.items()}
    ratio = needed["warm"] / needed["scratch"]
    if arguments.json:
        figures: dict[str, Any] = {
            "metric": METRIC, "yesterday": before, "epochs": found, "warm_over_scratch": ratio,
            "machine": machine(["torch", "transformers"]), "commit": commit(),
        }  # fmt: skip
        arguments.json.write_text(json.dumps(figures, indent=1), encoding="utf-8")
    return 0 if ratio <= 0.5 else 1


def _until(folder: Path, way: str, recall: float, options: list[str]) -> dict[int, float]:
    """Recall by epochs, up to the first that reaches `recall`."""
    tried: dict[int, float] = {}
    for epochs in EPOCHS:
        tried[epochs] = _recall(folder, "today", f"{way}{epochs}", epochs, *options)
        print(f"{way}, {epochs} epochs: {tried[epochs]:.4f}", flush=True)
        if tried[epochs] >= recall:
            break
    return tried


def _recall(folder: Path, data: str, run: str, epochs: int | None, *options: str) -> float:
    count = [] if epochs is None else ["--epochs", str(epochs)]
    subprocess.run(
        [Path(sys.executable).with_name("nextitem-train"), "--data", folder / f"{data}.parquet", "--config",
         ROOT / "demo" / "config.toml", "--output", folder / run, *count, *options],
        check=True, capture_output=True,
    )  # fmt: skip
    return json.loads((folder / run / "metrics.json").read_text())["metrics"]["model"][METRIC]


def _show(before: float, found: dict[str, dict[int, float]]) -> None:
    table = Table(title=f"{METRIC} on today's held-out sessions; yesterday's model had {before:.4f} on its own")
    table.add_column("epochs", justify="right")
    for way in found:
        table.add_column(way, justify="right")
    for epochs in EPOCHS:
        if any(epochs in tried for tried in found.values()):
            table.add_row(str(epochs), *(f"{tried[epochs]:.4f}" if epochs in tried else "" for tried in found.values()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
