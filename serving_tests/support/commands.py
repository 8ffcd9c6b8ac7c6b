"""The project's commands, run as a user would."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

BIN = Path(sys.executable).parent


def run_command(name: str, *arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands as a user would."""
    command = [str(BIN / name), *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, **more)


def succeed(name: str, *arguments: object) -> str:
    """Run a command that must not fail; returns what it printed."""
    result = run_command(name, *arguments)
    assert result.returncode == 0, f"{name} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout
