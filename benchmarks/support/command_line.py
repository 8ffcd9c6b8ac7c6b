"""What every benchmark's command has: how much it measures, and the file of its figures."""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")


def add_options(parser: argparse.ArgumentParser, *, quick: str) -> None:
    """--quick, --smoke and --json. quick: what the first of them leaves out, for --help."""
    extent = parser.add_mutually_exclusive_group()
    extent.add_argument("--quick", action="store_true", help=quick)
    extent.add_argument("--smoke", action="store_true", help="the smallest sizes, some seconds: does it run at all?")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures to this file")


def of_extent(arguments: argparse.Namespace, *, full: T, quick: T, smoke: T) -> T:
    """The one of three sizes that was asked for."""
    return smoke if arguments.smoke else quick if arguments.quick else full


def write_figures(report: Mapping[str, Any], file: Path | None) -> None:
    """Write a report, whose figures stand under `metrics`, as JSON: null for what is infinite. None: nowhere."""
    if file is not None:
        file.write_text(json.dumps(_without_infinity(report), indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _without_infinity(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_infinity(part) for name, part in value.items()}
    return None if isinstance(value, float) and math.isinf(value) else value
