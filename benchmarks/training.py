"""How long does training take, and how much memory, by interactions and items?

    python -m benchmarks.training [--quick | --smoke] [--json FILE]

Synthetic shops (benchmarks/serving/checkpoint.py has how), two layers of 64 dimensions, one epoch of nextitem-train, each in a
process of its own. The run's log tells what an epoch takes from what comes once (reading, fitting the workflow, evaluating).
Memory is the highest of the process.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.serving.checkpoint import SAMPLED_FROM, Shop, config_of, interactions
from benchmarks.support.command_line import add_options, of_extent, write_figures
from benchmarks.support.measuring import commit, machine

#: Interactions of a mean session.
_LENGTH = 11


@dataclasses.dataclass(frozen=True)
class Size:
    """One training."""

    interactions: int
    items: int

    @property
    def name(self) -> str:
        """As in the figures' names."""
        return f"{_short(self.interactions)}_interactions_{_short(self.items)}_items"

    @property
    def loss(self) -> str:
        """What the table calls it."""
        return "full softmax" if self.items < SAMPLED_FROM else "4,096 negatives"


SMOKE = (Size(10_000, 400),)
QUICK = (*SMOKE, Size(100_000, 1_000), Size(100_000, 10_000))
FULL = (*QUICK, Size(1_000_000, 1_000), Size(1_000_000, 10_000), Size(1_000_000, 100_000))


def main() -> int:
    """Train each size; returns 0."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    add_options(parser, quick="up to 100 thousand interactions: some minutes")
    arguments = parser.parse_args()
    table = Table("interactions", "items", "loss", "an epoch, s", "once, s", "memory, MB")
    metrics: dict[str, float] = {}
    for size in of_extent(arguments, full=FULL, quick=QUICK, smoke=SMOKE):
        found = _trained(size)
        metrics |= {f"{size.name}.{name}": value for name, value in found.items()}
        seconds = (f"{found[name]:,.0f}" for name in ("epoch_s", "once_s", "memory_mb"))
        table.add_row(f"{size.interactions:,}", f"{size.items:,}", size.loss, *seconds)
    Console().print(table)
    report = {"metrics": metrics, "machine": machine(["torch", "transformers", "nvtabular"]), "commit": commit()}
    write_figures(report, arguments.json)
    return 0


def _trained(size: Size) -> dict[str, float]:
    """What one epoch takes, what comes once, and the highest memory."""
    with tempfile.TemporaryDirectory() as made:
        folder = Path(made)
        shop = Shop(size.items, size.interactions // _LENGTH)
        interactions(shop).to_parquet(folder / "interactions.parquet")
        (folder / "config.toml").write_text(config_of(size.items, batch_size=256), encoding="utf-8")
        command = [Path(sys.executable).with_name("nextitem-train"), "--data", folder / "interactions.parquet"]
        command += ["--config", folder / "config.toml", "--output", folder / "run"]
        with (folder / "log").open("w") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, used = os.wait4(process.pid, 0)
        if status:
            raise RuntimeError(f"nextitem-train ended with {status}:\n{(folder / 'log').read_text()[-2000:]}")
        report: dict[str, Any] = json.loads((folder / "run" / "metrics.json").read_text())
        lines = (folder / "run" / "training_log.jsonl").read_text().splitlines()
    epoch_s = json.loads(lines[-1])["seconds"]
    return {"epoch_s": epoch_s, "once_s": report["seconds"] - epoch_s, "memory_mb": used.ru_maxrss / 1024}


def _short(number: int) -> str:
    return f"{number // 1_000_000}m" if number >= 1_000_000 else f"{number // 1000}k" if number >= 1000 else str(number)


if __name__ == "__main__":
    sys.exit(main())
