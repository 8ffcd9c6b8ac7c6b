"""The files of results: what is reported of each data set, and every configuration that was tried for it."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table


def merge(file: Path, data_set: str, results: Mapping[str, Mapping[str, float]], told: Mapping[str, Any]) -> None:
    """Puts a data set's figures, by ranker, and what is told of them in place of older ones of the same; all others stay."""
    found = _read(file, {"metrics": {}, "datasets": {}})
    for ranker, metrics in results.items():
        prefix = data_set if ranker == "model" else f"{data_set}.{ranker}"
        found["metrics"] |= {f"{prefix}.{name}": value for name, value in metrics.items()}
    found["metrics"] = dict(sorted(found["metrics"].items()))
    found["datasets"][data_set] = {**found["datasets"].get(data_set, {}), **told}
    _write(file, found)


def append_tried(file: Path, entry: Mapping[str, Any]) -> None:
    """Adds a configuration with its figures, or puts it in place of an earlier try of the same one."""
    same = ("dataset", "quick", "seed", "configuration")
    tried = [old for old in _read(file, []) if any(old.get(key) != entry.get(key) for key in same)]
    _write(file, [*tried, dict(entry)])


def table(title: str, columns: Sequence[str], rows: Mapping[str, Mapping[str, float]]) -> Table:
    """One line per ranker, one column per metric, in per cent."""
    shown = Table(title=title)
    shown.add_column("")
    for column in columns:
        shown.add_column(column, justify="right")
    for name, metrics in rows.items():
        shown.add_row(name, *(f"{100 * metrics[column]:.2f}" for column in columns))
    return shown


def _read(file: Path, empty: Any) -> Any:
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else empty


def _write(file: Path, content: Any) -> None:
    """Beside it first, so that an interrupted run leaves the old file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    building = file.with_name(f".{file.name}.tmp")
    building.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    os.replace(building, file)
