"""How many steps does a model need that starts from yesterday's, against one that starts from nothing?

    python -m benchmarks.retraining [--quick | --smoke] [--json FILE]

The demo's clicks: yesterday's data ends some weeks before today's. Yesterday's model is trained as the demo is, and its recall
is measured on the sessions that today's data holds out. Then today's data is trained on for more and more epochs, from scratch
and from yesterday's run, each time with a whole learning-rate schedule, until the recall on the same sessions is yesterday's.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.measuring import commit, machine
from benchmarks.support.own_process import ROOT, run_quietly
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory

METRIC = "recall@20"
YESTERDAY = "2008-07-28"


@dataclasses.dataclass(frozen=True)
class Size:
    """yesterday: epochs of yesterday's model. epochs: those that are tried. share: one in so many sessions is used."""

    yesterday: int | None
    epochs: tuple[int, ...]
    share: int = 1


FULL = Size(None, (1, 2, 3, 4, 6, 8, 12, 16, 25))  # None: as many as the demo's configuration says
QUICK = Size(6, (1, 2, 3, 4, 6, 8))
SMOKE = Size(1, (1,), share=20)


def main() -> int:
    """Run the comparison; returns 0 where the warm start needs at most half the epochs, and for less than a whole run."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="yesterday's model is trained for six epochs: some minutes")
    arguments = parser.parse_args()
    size = of_extent(arguments, full=FULL, quick=QUICK, smoke=SMOKE)
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    clicks = clicks.loc[clicks.session_id % size.share == 0]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clicks.loc[clicks.timestamp < YESTERDAY].to_parquet(folder / "yesterday.parquet")
        clicks.to_parquet(folder / "today.parquet")
        _recall(folder, "yesterday", "old", size.yesterday)
        # Any run on today's data says from when on its sessions are held out.
        first = _recall(folder, "today", "scratch1", 1)
        before = _recall_of_yesterday(folder, clicks)
        print(f"yesterday's model: {before:.4f}", flush=True)
        warm = _until(folder, "warm", before, size.epochs, "--init-from", str(folder / "old"))
        scratch = {1: first}
        if first < before:
            scratch |= _until(folder, "scratch", before, size.epochs[1:])
    report = _report(before, {"warm": warm, "scratch": scratch})
    _show(before, report["epochs"], size.epochs)
    write_figures(report, arguments.json)
    return 0 if report["warm_over_scratch"] <= 0.5 or size is not FULL else 1


def _report(before: float, found: dict[str, dict[int, float]]) -> dict[str, Any]:
    """What is written: the recalls by epochs, and the epochs that each way took, of which the last is the first that
    reached yesterday's recall, or the most that were tried."""
    needed = {way: max(tried) for way, tried in found.items()}
    ratio = needed["warm"] / needed["scratch"]
    metrics = {f"{way}.{METRIC}_at_{epochs}": value for way, tried in found.items() for epochs, value in tried.items()}
    metrics |= {f"{way}.epochs": epochs for way, epochs in needed.items()}
    return {
        "metrics": {f"yesterday.{METRIC}": before, "warm_over_scratch": ratio, **metrics},
        "metric": METRIC, "yesterday": before, "epochs": found, "warm_over_scratch": ratio,
        "machine": machine(["torch", "transformers"]), "commit": commit(),
    }  # fmt: skip


def _until(folder: Path, way: str, recall: float, tried_epochs: Sequence[int], *options: str) -> dict[int, float]:
    """Recall by epochs, up to the first that reaches `recall`."""
    tried: dict[int, float] = {}
    for epochs in tried_epochs:
        tried[epochs] = _recall(folder, "today", f"{way}{epochs}", epochs, *options)
        print(f"{way}, {epochs} epochs: {tried[epochs]:.4f}", flush=True)
        if tried[epochs] >= recall:
            break
    return tried


def _recall(folder: Path, data: str, run: str, epochs: int | None, *options: str) -> float:
    count = [] if epochs is None else ["--epochs", str(epochs)]
    command = [Path(sys.executable).with_name("nextitem-train"), "--data", folder / f"{data}.parquet"]
    command += ["--config", ROOT / "demo" / "config.toml", "--output", folder / run, *count, *options]
    run_quietly(command)
    return json.loads((folder / run / "metrics.json").read_text())["metrics"]["model"][METRIC]


def _recall_of_yesterday(folder: Path, clicks: pd.DataFrame) -> float:
    """What the old model finds among its first 20, of the last items of the sessions that today's data holds out."""
    cutoff = pd.Timestamp(json.loads((folder / "scratch1" / "metrics.json").read_text())["cutoff"])
    rows = clicks.loc[clicks.groupby("session_id").timestamp.transform("min") > cutoff]
    rows = rows.sort_values("timestamp", kind="stable")
    last = ~rows.session_id.duplicated(keep="last")
    targets = rows[last & rows.session_id.duplicated(keep=False)].set_index("session_id").item_id
    found = OfflinePredictor(RunDirectory.open(folder / "old")).predict(rows[~last], 20, session_ids=targets.index)
    return float(np.mean([target in items for target, items in zip(targets, found.item_ids.tolist(), strict=True)]))


def _show(before: float, found: dict[str, dict[int, float]], tried_epochs: Sequence[int]) -> None:
    table = Table(title=f"{METRIC} on today's held-out sessions; yesterday's model has {before:.4f} there")
    table.add_column("epochs", justify="right")
    for way in found:
        table.add_column(way, justify="right")
    for epochs in tried_epochs:
        if any(epochs in tried for tried in found.values()):
            table.add_row(str(epochs), *(f"{tried[epochs]:.4f}" if epochs in tried else "" for tried in found.values()))
    Console().print(table)


if __name__ == "__main__":
    sys.exit(main())
