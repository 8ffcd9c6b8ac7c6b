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
from serving_tests.support.made.cache import Made
from serving_tests.support.made.recipes import EXPORTS
from serving_tests.support.processes import running_triton

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own

BUNDLES = tuple(EXPORTS["raw"])


@pytest.fixture(scope="module")
def run(made: Made) -> Path:
    return made.run("raw")


@pytest.fixture(scope="module")
def server(made: Made, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    with running_triton(made.repository("raw", tmp_path_factory.mktemp("raw") / "repository")) as server:
        yield server


@pytest.mark.parametrize("name", BUNDLES)
def test_the_answer_is_that_of_offline(run: Path, server: TritonServer, name: str) -> None:
    reference = OfflinePredictor(RunDirectory.open(run))
    assert RunDirectory.open(run).schema.raw_dtypes["sku/no"] == "string"
    rows = RunDirectory.open(run).sample().drop(columns=["row_position"])
    names = rows["session_id"].unique()
    expected = reference.predict(rows, 10, names)
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


def test_the_native_runtime_takes_them_too(made: Made) -> None:
    assert (made.result("raw_native") / "native" / "1" / "bundle.json").is_file()
