"""Modules of the benchmarks, and commands, in processes of their own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

#: The project's folder, in which modules are run, so that `python -m` finds them.
ROOT = Path(__file__).parents[2]


def module_command(module: str, *arguments: object) -> list[str]:
    """`python -m module arguments…`, to be run in ROOT; paths are made absolute, as they were relative to another folder."""
    return [sys.executable, "-m", module, *(str(a.resolve() if isinstance(a, Path) else a) for a in arguments)]


def output_of(module: str, *arguments: object) -> str:
    """What a module prints, in a process of its own. Raises RuntimeError with what it says where it fails."""
    return _output(module, module_command(module, *arguments), ROOT)


def run_quietly(command: Sequence[str | Path]) -> str:
    """Run a command and return what it prints. Raises RuntimeError with what it says where it fails."""
    return _output(Path(command[0]).name, command, None)


def _output(name: str, command: Sequence[str | Path], folder: Path | None) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} failed with exit code {done.returncode}: {done.stderr.strip()}")
    return done.stdout
