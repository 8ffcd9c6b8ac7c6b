"""An export that a signal ends."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

#: The command, with an export that is ended by a signal (the first argument) while the bundle is being built.
INTERRUPTED = """
import signal, sys
from pathlib import Path
from nextitem_bundle import placing
from nextitem_export import cli, run


def export_run(*_, **given):
    with placing.build_folder(Path(given["repository"])) as build:
        (build / "half").write_text("built")
        signal.raise_signal(int(sys.argv[1]))
        signal.pause()


run.export_run = export_run
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(
    "number", [pytest.param(signal.SIGINT, marks=pytest.mark.slow), signal.SIGTERM], ids=lambda number: number.name
)
def test_an_interrupted_export_leaves_nothing_half_built(tmp_path: Path, number: signal.Signals) -> None:
    words = [sys.executable, "-c", INTERRUPTED, str(int(number)), "--run", "x", "--name", "shop"]
    repository = tmp_path / "repository"
    done = subprocess.run([*words, "--repository", str(repository)], capture_output=True, text=True, check=False)
    assert done.returncode == 130
    assert done.stderr.splitlines()[-1] == f"nextitem-export: interrupted; {repository} is as it was"
    assert "Traceback" not in done.stderr
    assert list(tmp_path.rglob("*")) == [repository]
