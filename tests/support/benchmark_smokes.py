"""A benchmark's command with --smoke in a process of its own, and the figures that it leaves."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.support.repository_files import ROOT

BENCHMARKS = ROOT / "benchmarks"


def smoke(name: str, *arguments: object) -> None:
    """Run the command with --smoke; fails with what it said."""
    command = [sys.executable, "-m", f"benchmarks.{name}", "--smoke", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, f"{name} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"


def figures(file: Path) -> dict[str, float]:
    """The metrics of a report; all are figures, null where a latency is infinite."""
    found = json.loads(file.read_text(encoding="utf-8"))["metrics"]
    wrong = {name: value for name, value in found.items() if not isinstance(value, int | float | None)}
    assert found
    assert not wrong
    return found


def kept(name: str, pattern: str) -> set[str]:
    """Names of the figures in benchmarks/results/ that match."""
    text = (BENCHMARKS / "results" / f"{name}.json").read_text(encoding="utf-8")
    found = {key for key in json.loads(text)["metrics"] if re.match(pattern, key)}
    assert found, f"no figure in results/{name}.json looks like {pattern}"
    return found
