"""One trained run, exported in both formats, behind one real Triton for all tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextitem_server import TritonServer
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory

from asking import DTYPES, FILL, Asker
from shop import ASKED, BUNDLES, CONFIG, MAX_TOP_K, ROOT, succeed


@pytest.fixture(scope="session")
def clicks() -> pd.DataFrame:
    """The demo's clicks of some weeks."""
    frame = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    return frame[frame.timestamp >= "2008-06-25"].reset_index(drop=True)


@pytest.fixture(scope="session")
def run(clicks: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run directory, trained by the command."""
    folder = tmp_path_factory.mktemp("run")
    clicks.to_parquet(folder / "clicks.parquet")
    (folder / "config.toml").write_text(CONFIG)
    succeed(
        "nextitem-train", "--data", folder / "clicks.parquet", "--config", folder / "config.toml",
        "--output", folder / "run",
    )  # fmt: skip
    return folder / "run"


@pytest.fixture(scope="session")
def repository(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model repository with one bundle of each kind, exported by the command."""
    folder = tmp_path_factory.mktemp("served") / "model_repository"
    for name, options in BUNDLES.items():
        succeed(
            "nextitem-export", "--run", run, "--repository", folder, "--name", name, "--max-top-k", MAX_TOP_K, *options,
        )  # fmt: skip
    return folder


@pytest.fixture(scope="session")
def server(repository: Path) -> Iterator[TritonServer]:
    """The real tritonserver on free ports."""
    with TritonServer(repository) as running:
        yield running


@pytest.fixture(scope="session", params=ASKED, ids="-".join)
def asker(request: pytest.FixtureRequest, server: TritonServer) -> Iterator[Asker]:
    """Each kind of bundle, over each protocol."""
    name, protocol = request.param
    asker = Asker(protocol, getattr(server, f"{protocol}_url"), name)
    yield asker
    asker.close()


@pytest.fixture(scope="session")
def signature(repository: Path) -> dict:
    """The signature that clients read."""
    manifest = json.loads((repository / "shop" / "1" / "bundle.json").read_text())
    return manifest["request"]


@pytest.fixture(scope="session")
def judge(run: Path) -> OfflinePredictor:
    """Offline prediction on the raw rows: what is right."""
    return OfflinePredictor(RunDirectory.open(run))


@pytest.fixture(scope="session")
def sessions(clicks: pd.DataFrame) -> list[pd.DataFrame]:
    """Held-out sessions in all lengths, raw."""
    last = clicks[clicks.timestamp >= "2008-08-07"]
    return [session.reset_index(drop=True) for _, session in last.groupby("session_id", sort=False)]


@pytest.fixture(scope="session")
def pack(signature: dict) -> Callable[..., dict[str, np.ndarray]]:
    """Raw sessions to the tensors of a request: written here anew, so as not to trust the project's own packing."""

    def packed(batch: list[pd.DataFrame], **options: np.ndarray) -> dict[str, np.ndarray]:
        width = max(1, *(len(session) for session in batch))
        tensors = {"session_length": np.array([[len(session)] for session in batch], dtype=np.int32)}
        for feature in signature["features"]:
            datatype = feature["datatype"]
            values = np.full((len(batch), width), FILL[datatype], dtype=DTYPES[datatype])
            for row, session in enumerate(batch):
                values[row, : len(session)] = [_wire(value, datatype) for value in session[feature["name"]]]
            tensors[feature["name"]] = values
        return tensors | options

    return packed


def _wire(value: object, datatype: str) -> object:
    missing = pd.isna(value)
    if datatype == "BYTES":
        return b"" if missing else str(value).encode()
    if datatype == "FP32":
        return np.nan if missing else value
    if missing:
        return np.iinfo(np.int64).min
    return value.value if isinstance(value, pd.Timestamp) else int(value)
