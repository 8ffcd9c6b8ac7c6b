"""Trains a stage through nextitem-train, once: a run that is done is found again by what it was made of."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from benchmarks.accuracy.protocols import Stage
from nextitem_training.config import Config
from nextitem_training.run_directory import RunDirectory

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

_PROTOCOL = ("holdout", "holdout_days", "validation_days", "validation_interaction", "exclude_seen")
COMMAND = Path(sys.executable).with_name("nextitem-train")


def trained(stage: Stage, config: str, cache: Path) -> Path:
    """The run directory of this configuration on this stage, trained where `cache` lacks it.

    An interrupted training goes on from its last checkpoint. Raises CalledProcessError where
    nextitem-train fails; it says why itself.
    """
    text = with_settings(config, "data", stage.settings)
    key = hashlib.sha256(f"{stage.name}\n{text}".encode()).hexdigest()[:12]
    run = cache / f"{stage.name}-{key}"
    if (run / "metrics.json").exists():
        return run
    cache.mkdir(parents=True, exist_ok=True)
    data, settings = cache / f"{stage.name}.parquet", cache / f"{stage.name}-{key}.toml"
    stage.written.to_parquet(data)
    settings.write_text(text, encoding="utf-8")
    command = [str(COMMAND), "--data", str(data), "--config", str(settings), "--output", str(run), "--resume"]
    subprocess.run(command, check=True)
    return run


def is_judged(config: str) -> bool:
    """Whether this TOML chooses a checkpoint while training, for which sessions have to be kept from training."""
    # Not as nextitem-train reads it, which is to say itself what it refuses.
    return bool(tomllib.loads(config).get("training", {}).get("patience"))


def described(run: Path) -> dict[str, Any]:
    """What of a run's configuration differs from the defaults, by table, but for what the protocol sets."""
    given, default = dataclasses.asdict(RunDirectory.open(run).config), dataclasses.asdict(Config())
    found: dict[str, Any] = {}
    for table, values in given.items():
        if isinstance(values, dict):
            values = {
                key: value for key, value in values.items() if value != default[table][key] and key not in _PROTOCOL
            }
        if values:
            found[table] = values
    return found


def with_settings(text: str, table: str, settings: Mapping[str, Any]) -> str:
    """TOML with these keys of one table set, whatever they were; comments and the rest stay as they are."""
    lines, inside, kept = text.splitlines(), False, []
    for line in lines:
        header = re.match(r"\s*\[", line)
        if header:
            inside = bool(re.match(rf"\s*\[{re.escape(table)}\]", line))
        if inside and any(re.match(rf"\s*{re.escape(key)}\s*=", line) for key in settings):
            continue
        kept.append(line)
        if header and inside:
            kept += [f"{key} = {json.dumps(value)}" for key, value in settings.items()]
    if not any(re.match(rf"\s*\[{re.escape(table)}\]", line) for line in lines):
        kept += [f"[{table}]", *(f"{key} = {json.dumps(value)}" for key, value in settings.items())]
    return "\n".join(kept) + "\n"
