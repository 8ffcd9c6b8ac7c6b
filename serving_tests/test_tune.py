"""`nextitem-export --tune`: measures the real server, and leaves nothing behind but the bundle."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from nextitem_client import Client
from nextitem_server import TritonServer
from serving_tests.support.commands import BIN, run_command

pytestmark = pytest.mark.slow  # an export with some measurements each

#: Searched are the processes alone, so that few measurements are made.
FIXED = ("--layout", "fused", "--threads", 1, "--preferred-batch-size", 16, "--max-queue-delay-us", 0)


def processes_of(folder: Path) -> list[str]:
    """The command lines of running processes that name this folder."""
    found = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:
            continue
        if str(folder) in line:
            found.append(line)
    return found


def test_what_was_kept_is_what_is_served(run: Path, tmp_path: Path, asked_shop: dict[str, list]) -> None:
    repository = tmp_path / "repository"
    done = run_command(
        "nextitem-export", "--run", run, "--repository", repository, "--name", "shop", "--tune", *FIXED
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "tuning: 16 callers" in done.stdout
    tuning = json.loads((repository / "shop" / "1" / "bundle.json").read_text())["tuning"]
    assert tuning["kept"].keys() == {"instances"}
    assert tuning["fixed"] == {"threads": 1, "preferred_batch_size": 16, "max_queue_delay_us": 0}
    assert len(tuning["tried"]) >= 2 or tuning["machine"]["cores"] == 1
    for tried in tuning["tried"]:
        assert tried["throughput"] > 0
        assert 0 < tried["p50_ms"] <= tried["p90_ms"] <= tried["p99_ms"]
        assert tried["memory_mb"] > 20
    assert f"count: {tuning['kept']['instances']}" in (repository / "shop" / "config.pbtxt").read_text()
    step = json.loads((repository / "shop" / "1" / "step.json").read_text())
    assert (step["threads"], step["preferred_batch_size"]) == (1, 16)
    assert [path.name for path in tmp_path.iterdir()] == ["repository"]
    with TritonServer(repository) as server, Client(server.http_url, "shop") as client:
        assert client.recommend(asked_shop).status == "ok"


@pytest.mark.skipif(not os.path.isdir("/proc"), reason="needs Linux's /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=lambda number: number.name)
def test_an_interrupted_measurement_leaves_no_process_and_no_file(run: Path, tmp_path: Path, number: int) -> None:
    repository = tmp_path / "repository"
    words = ["nextitem-export", "--run", run, "--repository", repository, "--name", "shop", "--tune", *FIXED]
    words[0] = BIN / "nextitem-export"
    export = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not any("tritonserver --" in line for line in processes_of(tmp_path)):
        assert export.poll() is None, export.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    time.sleep(1)  # into the measurement, or into the loading of models
    export.send_signal(number)
    _, errors = export.communicate(timeout=90)
    assert export.returncode == 130
    assert f"interrupted; {repository} is as it was" in errors
    assert "Traceback" not in errors
    assert processes_of(tmp_path) == []
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*")] == ["repository"]
