"""Bodies of each make, trained on the demo's clicks: served answers equal offline for all held-out sessions (README.md, 5)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from serving_tests.support.commands import succeed
from serving_tests.support.encoding import encode_sessions
from serving_tests.support.made.shop import ROOT
from serving_tests.support.processes import running_triton
from serving_tests.support.ranking import assert_true
from serving_tests.support.raw_client import RawClient

K = 20
BATCH = 64
ZOO = [
    ("xlnet", "mlm"),
    ("xlnet", "plm"),
    ("bert", "mlm"),
    ("gpt2", "clm"),
    ("electra", "rtd"),
    ("transformer_xl", "clm"),
    ("longformer", "clm"),
    ("reformer", "mlm"),
    ("funnel", "mlm"),
    ("gru4rec", "clm"),
    ("sasrec", "clm"),
    ("core", "clm"),
]
FORMATS = ("onnx", "onnx_dynamo", "torchscript")


@pytest.fixture(params=ZOO, ids="-".join)
def zoo_run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDirectory:
    """The demo's configuration with this body, trained for two epochs."""
    body, pretraining = request.param
    succeed(
        "nextitem-train", "--data", ROOT / "demo" / "clicks.parquet", "--config", ROOT / "demo" / "config.toml",
        "--body", body, "--pretraining", pretraining, "--epochs", 2, "--output", tmp_path / "run",
    )  # fmt: skip
    return RunDirectory.open(tmp_path / "run")


@pytest.mark.slow
def test_every_held_out_session_is_answered_as_offline(zoo_run: RunDirectory, tmp_path: Path) -> None:
    sessions = held_out(zoo_run)
    assert len(sessions) == 2557
    for format_name in FORMATS:
        succeed(
            "nextitem-export", "--run", zoo_run.path, "--repository", tmp_path / "repository", "--name", format_name,
            "--format", format_name,
        )  # fmt: skip
    reference = OfflinePredictor(zoo_run)
    features = [
        {"name": feature.name, "datatype": DATATYPES.get(feature.dtype, "INT64")}
        for feature in zoo_run.schema.raw_features
    ]
    with running_triton(tmp_path / "repository") as server:
        for format_name in FORMATS:
            raw_client = RawClient("http", server.http_url, format_name)
            best = set()
            for start in range(0, len(sessions), BATCH):
                batch = sessions[start : start + BATCH]
                answer = raw_client.ask(
                    encode_sessions(features, batch) | {"top_k": np.full((len(batch), 1), K, dtype=np.int32)}
                )
                assert_true(reference, batch, answer)
                best |= set(answer.item_ids[:, 0].tolist())
            raw_client.close()
            assert len(best) > 10  # a model that answers everybody alike would prove nothing


DATATYPES = {"string": "BYTES", "float32": "FP32"}


def held_out(run: RunDirectory) -> list[pd.DataFrame]:
    """The sessions behind the offline metrics, without the item that was to be predicted."""
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    start = clicks.groupby("session_id").timestamp.transform("min")
    cutoff = pd.Timestamp(run.metrics()["cutoff"])
    groups = clicks[start > cutoff].groupby("session_id", sort=False)
    whole = [session.sort_values("timestamp", kind="stable") for _, session in groups if len(session) >= 2]
    return [session.iloc[:-1].reset_index(drop=True) for session in whole]
