"""Trains a stage through nextitem-train, once: a run that is done is found again by what it was made of."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from nextitem_training.config import Config, read_config

from accuracy_protocols import Stage

COMMAND = Path(sys.executable).with_name("nextitem-train")


def trained(stage: Stage, config: str, cache: Path) -> Path:
    """The run directory of this configuration on this stage, trained where `cache` lacks it.

    Where nextitem-train can, an interrupted training goes on from its last checkpoint. Raises CalledProcessError where
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
    command = [str(COMMAND), "--data", str(data), "--config", str(settings), "--output", str(run)]
    subprocess.run([*command, *(["--resume"] if _resumes() else [])], check=True)
    return run


def is_judged(config: Path) -> bool:
    """Whether it chooses a checkpoint while training, for which sessions have to be kept from training."""
    return read_config(config).training.patience > 0


def described(config: Config) -> dict[str, Any]:
    """What of a configuration differs from its defaults: {table: {key: value}}."""
    default, given = dataclasses.asdict(Config()), dataclasses.asdict(config)
    found = {
        table: {key: value for key, value in values.items() if value != default[table][key]}
        for table, values in given.items()
        if isinstance(values, dict)
    }
    return {table: values for table, values in found.items() if values}


def with_settings(text: str, table: str, settings: dict[str, Any]) -> str:
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


@functools.cache
def _resumes() -> bool:
    """Whether this nextitem-train can go on with an interrupted training."""
    done = subprocess.run([str(COMMAND), "--help"], check=False, capture_output=True, text=True)
    return "--resume" in done.stdout
