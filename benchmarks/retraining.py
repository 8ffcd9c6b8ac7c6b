"""How many steps does a model need that starts from yesterday's, against one that starts from nothing?

    python benchmarks/retraining.py [--json FILE]

The demo's clicks: yesterday's data ends some weeks before today's. Yesterday's model is trained as the demo is, and its recall
is measured on the sessions that today's data holds out. Then today's data is trained on for more and more epochs, from scratch
and from yesterday's run, each time with a whole learning-rate schedule, until the recall on the same sessions is yesterday's.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory

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
        _recall(folder, "yesterday", "old", epochs=None)
        _recall(folder, "today", "cutoff", epochs=1)
        before = _recall_of_yesterday(folder, clicks)
        print(f"yesterday's model: {before:.4f}", flush=True)
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


def _recall_of_yesterday(folder: Path, clicks: pd.DataFrame) -> float:
    """What the old model finds among its first 20, of the last items of the sessions that today's data holds out."""
    cutoff = pd.Timestamp(json.loads((folder / "cutoff" / "metrics.json").read_text())["cutoff"])
    rows = clicks[clicks.groupby("session_id").timestamp.transform("min") > cutoff]
    rows = rows.sort_values("timestamp", kind="stable")
    last = ~rows.session_id.duplicated(keep="last")
    targets = rows[last & rows.session_id.duplicated(keep=False)].set_index("session_id").item_id
    found = OfflinePredictor(RunDirectory.open(folder / "old")).predict(rows[~last], 20, session_ids=targets.index)
    return float(np.mean([target in items for target, items in zip(targets, found.item_ids.tolist(), strict=True)]))


def _show(before: float, found: dict[str, dict[int, float]]) -> None:
    table = Table(title=f"{METRIC} on today's held-out sessions; yesterday's model has {before:.4f} there")
    table.add_column("epochs", justify="right")
    for way in found:
        table.add_column(way, justify="right")
    for epochs in EPOCHS:
        if any(epochs in tried for tried in found.values()):
            table.add_row(str(epochs), *(f"{tried[epochs]:.4f}" if epochs in tried else "" for tried in found.values()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
