"""The commands of the pages about training, retraining, one's own data and updates run, in the order of the page.

docs/plain-http.md, any-model.md, offline.md, workflows.md and the READMEs have tests
of their own.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextitem_server import Ports
from nextitem_server.health import is_ready
from nextitem_server.ports import choose
from tests.support.repository_files import ROOT

BIN = Path(sys.executable).parent
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
#: Sessions of the demo's last days, which train in seconds.
SESSIONS = 400

pytestmark = pytest.mark.slow


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    return [text for kind, text in BLOCK.findall((ROOT / page).read_text(encoding="utf-8")) if kind == language]


def commands(page: str) -> list[str]:
    """Each command of a page's console blocks, on one line."""
    lines = "\n".join(blocks(page, "console")).replace("\\\n", " ").splitlines()
    return [re.sub(r"\s#\s.*", "", line.removeprefix("$ ")) for line in lines if line.startswith("$ ")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the commands are typed: the files that they name, with few sessions and a configuration of one epoch."""
    made = tmp_path_factory.mktemp("pages")
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet").sort_values(["timestamp", "session_id"], kind="stable")
    last = clicks[clicks.session_id.isin(clicks.session_id.drop_duplicates().tail(SESSIONS))]
    config = (ROOT / "demo" / "config.toml").read_text(encoding="utf-8")
    config = re.sub(r"(?m)^epochs = .*", "epochs = 1", config)
    config = re.sub(r"(?m)^holdout_days = .*", "holdout_days = 2", config)
    (made / "demo").mkdir()
    for place in (made, made / "demo"):
        last.to_parquet(place / "clicks.parquet")
        (place / "config.toml").write_text(config, encoding="utf-8")
    ids = last.session_id.drop_duplicates().to_numpy()
    for name, part in zip(("train", "valid", "test"), np.split(ids, [SESSIONS // 2, 3 * SESSIONS // 4]), strict=True):
        last[last.session_id.isin(part)].to_parquet(made / f"{name}.parquet")
    return made


def run(command: str, folder: Path, seconds: float = 300) -> subprocess.CompletedProcess[str]:
    """A command until its end; fails with what it said."""
    with started(command, folder) as process:
        out, errors = process.communicate(timeout=seconds)
    assert process.returncode == 0, f"{command}\n{out[-2000:]}\n{errors[-4000:]}"
    return subprocess.CompletedProcess(command, process.returncode, out, errors)


@contextlib.contextmanager
def started(command: str, folder: Path) -> Iterator[subprocess.Popen[str]]:
    """A command in a shell, in a process group of its own, which is ended with all that it started."""
    environment = {**os.environ, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(
        ["bash", "-c", command], cwd=folder, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    )  # fmt: skip
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        process.wait(30)


def output_of(command: str) -> str:
    """The folder that a training command writes."""
    words = shlex.split(command)
    return words[words.index("--output") + 1]


TRAINING = commands("docs/training.md")


@pytest.mark.parametrize("command", [line for line in TRAINING if "dask" not in line])
def test_training(command, folder):
    written = folder / output_of(command)
    shutil.rmtree(written, ignore_errors=True)
    run(command, folder)
    assert (written / ("windows.json" if "--incremental-days" in command else "metrics.json")).exists()


def test_training_on_a_dask_cluster(folder):
    cluster, train = (line for line in TRAINING if "dask" in line)
    train = train.replace(output_of(train), "runs/dask")
    # The page's first line ends with `&`: what it starts runs until the training is done.
    run(f"{cluster}\n{train}; code=$?; kill $(jobs -p); exit $code", folder)
    assert (folder / "runs" / "dask" / "metrics.json").exists()


def test_retraining_and_a_switch(folder):
    run("nextitem-train --data clicks.parquet --config config.toml --output runs/monday", folder)
    (retrain,) = commands("docs/retraining.md")
    run(retrain, folder)
    assert json.loads((folder / output_of(retrain) / "metrics.json").read_text())["init_from"]["items"] > 100
    run("nextitem-export --run runs/monday --repository model_repository --name shop", folder)
    serve, *switches = commands("docs/updates.md")
    port = free_port()
    with started(f"{serve} --http-port {port} --grpc-port 0 --metrics-port 0", folder) as server:
        wait_for(server, port)
        versions = [run(line.replace("8000", str(port)), folder).stdout for line in switches]
    assert [re.findall(r"version (\d)", said)[0] for said in versions] == ["2", "2", "1"]


def test_your_own_data(tmp_path):
    (config,), (session,) = blocks("docs/your-data.md", "toml"), blocks("docs/your-data.md", "json")
    (tmp_path / "config.toml").write_text(re.sub(r"(?m)^epochs = .*", "epochs = 1", config), encoding="utf-8")
    (tmp_path / "session.json").write_text(session, encoding="utf-8")
    columns = {
        "session_id": "visit",
        "item_id": "product",
        "timestamp": "when",
        "category": "category",
        "price": "price",
    }
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")[list(columns)].rename(columns=columns)
    clicks[clicks.visit % 10 == 0].to_csv(tmp_path / "clicks.csv", index=False)
    train, export, serve, ask = commands("docs/your-data.md")
    run(train, tmp_path)
    run(export, tmp_path)
    port = free_port()
    with started(f"{serve} --http-port {port} --grpc-port 0 --metrics-port 0", tmp_path) as server:
        wait_for(server, port)
        answer = json.loads(run(f"{ask} --url http://127.0.0.1:{port} --json", tmp_path).stdout)
    assert len(answer["item_ids"]) == 20
    assert set(answer["item_ids"]) <= set(clicks["product"])


def free_port() -> int:
    """A port that nobody has."""
    return choose("127.0.0.1", Ports(http=0, grpc=0, metrics=0)).http


def wait_for(server: subprocess.Popen[str], port: int) -> None:
    """Until the server answers; fails where it ended."""
    while not is_ready("127.0.0.1", port):
        assert server.poll() is None, server.communicate()
        time.sleep(0.2)
