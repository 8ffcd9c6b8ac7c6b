"""From a file as a shop has it to the answer: text ids with leading zeros, names of columns as files may not have them, times
in seconds, semicolons, and numbers among nulls."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from nextitem_client import Client
from nextitem_server import TritonServer
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory

from shop import succeed

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own

LONG = "visits of the page " + "x" * 241
BUNDLES = {"steps": (), "fused": ("--layout", "fused")}
CONFIG = f"""
[data]
item_column = "sku/no"
time_column = "clicked at"
categorical = ["../shelf", "new*"]
continuous = ["{LONG}"]
log_continuous = ["timestamp/age_days"]
window = 4
holdout_days = 1

[model]
d_model = 8
heads = 2
layers = 1
dropout = 0.0
initializer_range = 0.5

[training]
epochs = 1
"""


def interactions() -> pd.DataFrame:
    """The columns as they are written, nulls as nothing."""
    random = np.random.default_rng(0)
    lengths = random.integers(1, 7, 200)
    session = np.repeat(np.arange(200), lengths)
    number = (session * 5 + np.arange(len(session))) % 13
    frame = pd.DataFrame(
        {
            "session_id": session,
            "sku/no": [f"{n:07}" for n in number],
            "clicked at": 1_709_251_200 + session * 3600 + np.arange(len(session)),
            "../shelf": number % 4,
            "new*": number % 2,
            LONG: number * 3,
            "timestamp/age_days": number,
            "not read": "x",
        }
    )
    for name in frame.columns[3:7]:
        frame[name] = frame[name].astype("Int64").mask(random.random(len(frame)) < 0.2)
    return frame


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("raw")
    (folder / "clicks").mkdir()
    (folder / "clicks" / ".ipynb_checkpoints").mkdir()
    rows = interactions()
    for number, part in enumerate(np.array_split(rows, 2)):
        part.to_csv(folder / "clicks" / f"part-{number}.csv.gz", sep=";", index=False)
    rows.to_csv(folder / "clicks" / ".ipynb_checkpoints" / "part-0-checkpoint.csv", index=False)
    (folder / "config.toml").write_text(CONFIG, encoding="utf-8-sig")
    succeed(
        "nextitem-train", "--data", folder / "clicks", "--config", folder / "config.toml", "--output", folder / "run"
    )
    return folder / "run"


@pytest.fixture(scope="module")
def server(run: Path) -> Iterator[TritonServer]:
    repository = run.parent / "repository"
    for name, options in BUNDLES.items():
        succeed("nextitem-export", "--run", run, "--repository", repository, "--name", name, *options)
    with TritonServer(repository) as server:
        yield server


@pytest.mark.parametrize("name", BUNDLES)
def test_the_answer_is_that_of_offline(run: Path, server: TritonServer, name: str) -> None:
    judge = OfflinePredictor(RunDirectory.open(run))
    assert RunDirectory.open(run).schema.raw_dtypes["sku/no"] == "string"
    rows = RunDirectory.open(run).sample().drop(columns=["row_position"])
    names = rows["session_id"].unique()
    expected = judge.predict(rows, 10, names)
    sessions = [
        [
            {name: None if pd.isna(value) else value for name, value in row.items() if name != "session_id"}
            for row in rows[rows["session_id"] == session].to_dict("records")
        ]
        for session in names
    ]
    with Client(server.http_url, name) as client:
        answers = client.recommend_many(sessions, 10)
    for row, answer in enumerate(answers):
        np.testing.assert_allclose(answer.scores, expected.scores[row], atol=1e-4)
        assert set(answer.item_ids) == set(expected.item_ids[row])
        assert all(len(item) == 7 for item in answer.item_ids)


def test_the_native_runtime_takes_them_too(run: Path) -> None:
    repository = run.parent / "native"
    succeed("nextitem-export", "--run", run, "--repository", repository, "--name", "native", "--runtime", "native")
