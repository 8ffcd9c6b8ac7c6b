"""The project's commands, run as a user would."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path
from unittest import mock

BIN = Path(sys.executable).parent


def run_command(name: str, *arguments: object, **more: object) -> subprocess.CompletedProcess[str]:
    """Run one of the project's commands as a user would."""
    command = [str(BIN / name), *map(str, arguments)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    return subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, **more)


def run_here(name: str, *arguments: object, given: str = "") -> subprocess.CompletedProcess[str]:
    """The same in this process, by the entry point that the command's script calls; for what is run many times.

    given: its standard input.
    """
    words = [str(argument) for argument in arguments]
    (entry,) = {entry.value: entry for entry in entry_points(group="console_scripts", name=name)}.values()
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.object(sys, "stdin", io.StringIO(given)),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        ended_by = signal.getsignal(signal.SIGTERM)
        try:
            code = entry.load()(words)
        except SystemExit as ended:  # as argparse refuses
            code = ended.code
        finally:
            signal.signal(signal.SIGTERM, ended_by)
    return subprocess.CompletedProcess([name, *words], code, out.getvalue(), err.getvalue())


def succeed(name: str, *arguments: object) -> str:
    """Run a command that must not fail; returns what it printed."""
    result = run_command(name, *arguments)
    assert result.returncode == 0, f"{name} failed:\n{result.stdout}\n{result.stderr}"
    return result.stdout
