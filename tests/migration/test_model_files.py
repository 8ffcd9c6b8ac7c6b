"""Model files (docs/migrating/onnx.md) that Triton serves: it answers as Keras does, or the module behind TorchScript."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from export.tests.support import items_shop
from nextitem_client import Client
from nextitem_export import ModelFile, export_bundle
from nextitem_server import TritonServer
from serving_tests.support.processes import running_triton

KERAS = Path(__file__).parents[2] / "export" / "tests" / "model_files" / "keras_gru.onnx"
RECORDED = json.loads(KERAS.with_suffix(".json").read_text(encoding="utf-8"))
FEATURE = "item_id-list"


class Scores(nn.Module):
    """The shop's model as one that is traced: codes int64 [B, T] → scores float32 [B, V]."""

    def __init__(self, model: items_shop.Rows) -> None:
        super().__init__()
        self.model = model

    def forward(self, codes: torch.Tensor) -> torch.Tensor:
        return items_shop.Rows.query(self.model, {FEATURE: codes}) @ self.model.items.weight.T


@pytest.fixture(scope="module")
def frame() -> pd.DataFrame:
    return items_shop.clicks(items_shop.STRINGS)


@pytest.fixture(scope="module")
def workflow(frame: pd.DataFrame, tmp_path_factory: pytest.TempPathFactory) -> nvt.Workflow:
    return items_shop.fit(["item_id"] >> ops.Categorify(out_path=str(tmp_path_factory.mktemp("codes"))), frame)


@pytest.fixture(scope="module")
def ids(frame: pd.DataFrame, workflow: nvt.Workflow) -> list[str]:
    """Raw ids by code, null for the special ones."""
    each = frame.drop_duplicates("item_id").assign(session_id=range(items_shop.ITEMS))
    codes = workflow.transform(each)[FEATURE].map(lambda row: int(row[0]))
    id_of = dict(zip(codes, each.item_id, strict=True))
    return [id_of.get(code, "") for code in range(3 + items_shop.ITEMS)]


@pytest.fixture(scope="module")
def model() -> items_shop.Rows:
    return items_shop.Rows(3 + items_shop.ITEMS)


@pytest.fixture(scope="module")
def server(
    frame: pd.DataFrame, workflow: nvt.Workflow, model: items_shop.Rows, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    """Serves `keras`, an ONNX file of tf2onnx, and `script`, a TorchScript file."""
    folder = tmp_path_factory.mktemp("files")
    script = torch.jit.trace(Scores(model).eval(), torch.tensor([[3, 4, 5, 0], [6, 0, 0, 0]]))
    torch.jit.save(script, str(folder / "model.pt"))
    files = {
        "keras": ModelFile(KERAS, inputs={"item_id_list": FEATURE}),
        "script": ModelFile(folder / "model.pt", inputs={"codes": FEATURE}),
    }
    repository = folder / "repository"
    for name, file in files.items():
        export_bundle(file, workflow, frame, repository=repository, name=name, tie_breaker_column="position")
    with running_triton(repository) as running:
        yield running


def expected(name: str, place: int, model: items_shop.Rows) -> np.ndarray:
    """The scores by code of a session of Keras' record, float32 [V]."""
    if name == "keras":
        return np.array(RECORDED["scores"][place], dtype=np.float32)
    codes = RECORDED["codes"][place]
    with torch.no_grad():
        return Scores(model)(torch.tensor([codes + [0] * (4 - len(codes))]))[0].numpy()


@pytest.mark.parametrize("name", ["keras", "script"])
@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_triton_answers_as_the_file_does(
    name: str, protocol: str, server: TritonServer, ids: list[str], model: items_shop.Rows
) -> None:
    with Client(getattr(server, f"{protocol}_url"), model=name) as client:
        for place, codes in enumerate(RECORDED["codes"]):
            times = [f"2020-09-13T12:26:{second:02d}" for second in range(len(codes))]
            answer = client.recommend(
                {"item_id": [ids[code] for code in codes], "timestamp": times}, k=items_shop.ITEMS
            )
            scores = expected(name, place, model)
            best = np.argsort(-scores[3:], kind="stable") + 3
            assert answer.item_ids == [ids[code] for code in best]
            np.testing.assert_allclose(answer.scores, scores[best], atol=1e-5)
