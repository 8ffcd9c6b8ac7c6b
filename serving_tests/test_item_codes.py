"""Models that count items otherwise than Categorify, behind a real Triton: raw ids in, raw ids out."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from nextitem_client import Client
from nextitem_export import ExportOptions, export_bundle
from nextitem_server import TritonServer

pytestmark = pytest.mark.beside_the_server  # it starts a server of its own
KEYS = ["session_id", "timestamp"]
ITEMS, WINDOW, ALL = 30, 5, 100
LAYOUTS = ("ensemble", "fused")


class Rows(nn.Module):
    """Knows an item by its row: a session is its newest item's and a third of all of them."""

    def __init__(self, rows: int, padding: int, feature: str) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(rows, 16)
        self.padding, self.feature_names = padding, (feature,)

    def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        values = features[self.feature_names[0]]
        real = values != self.padding
        steps = self.items(torch.where(real, values, 0)) * real[..., None]
        last = (real.sum(dim=1) - 1).clamp(min=0)
        return steps.gather(1, last[:, None, None].expand(-1, 1, 16))[:, 0] + steps.sum(1) / 3

    def item_table(self) -> torch.Tensor:
        return self.items.weight


def clicks() -> pd.DataFrame:
    random = np.random.default_rng(0)
    rows = 600
    return pd.DataFrame(
        {
            "session_id": np.sort(random.integers(0, 120, rows)),
            "item_id": np.concatenate([np.arange(ITEMS), random.integers(0, ITEMS, rows - ITEMS)]),
            "timestamp": pd.to_datetime(1_600_000_000 + np.arange(rows), unit="s"),
        }
    )


def fitted(columns: object, frame: pd.DataFrame) -> nvt.Workflow:
    grouped = columns + KEYS >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=["timestamp"], aggs={"item_id": ["list"]}
    )
    workflow = nvt.Workflow((grouped["item_id_list"] >> ops.ListSlice(-WINDOW)) + grouped["session_id"])
    workflow.fit(nvt.Dataset(frame))
    return workflow


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[nvt.Workflow, Rows, dict]]:
    """Workflow, model and options by bundle."""
    folder, frame = tmp_path_factory.mktemp("vocabulary"), clicks()
    encoded = ["item_id"] >> ops.Categorify(out_path=str(folder)) >> ops.LambdaOp(lambda codes: codes + 1)
    return {
        "shifted": (fitted(encoded, frame), Rows(ITEMS + 4, 0, "item_id_list"), {}),
        "as_is": (
            fitted(["item_id"], frame),
            Rows(ITEMS, -1, "item_id_list"),
            {"item_codes": "as-is", "item_padding": -1},
        ),
    }


@pytest.fixture(scope="module")
def served(models: dict, tmp_path_factory: pytest.TempPathFactory) -> Iterator[TritonServer]:
    repository = tmp_path_factory.mktemp("item_codes") / "model_repository"
    frame = clicks()
    for name, (workflow, model, options) in models.items():
        for layout in LAYOUTS:
            export_bundle(
                model, workflow, frame[frame.session_id < 40], repository=repository, name=f"{name}_{layout}",
                options=ExportOptions(layout=layout, **options),
            )  # fmt: skip
    with TritonServer(repository) as server:
        yield server


def offline(workflow: nvt.Workflow, model: Rows, items: list[int]) -> dict[int, float]:
    """Scores by raw id: NVTabular's own values, those of the session's known items and of each item alone, and the model."""

    def values(ids: list[int], sessions: object) -> list[list[int]]:
        times = pd.to_datetime(np.arange(len(ids)), unit="s")
        rows = pd.DataFrame({"session_id": sessions, "item_id": ids, "timestamp": times})
        return [list(row) for row in workflow.transform(rows)["item_id_list"]]

    (read,) = values(items, 0)
    row_of = [value for (value,) in values(list(range(ITEMS)), range(ITEMS))]
    padded = torch.tensor([read + [model.padding] * (WINDOW - len(read))])
    with torch.no_grad():
        scores = (model.query({"item_id_list": padded}) @ model.item_table().T)[0]
    return {item: float(scores[row]) for item, row in enumerate(row_of)}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["shifted", "as_is"])
@pytest.mark.parametrize("items", [[3], [0], [2, 0, 1], [0, 0], [29, 5, 0, 7, 1]])
def test_answers_are_offline_prediction_s_by_raw_id(
    served: TritonServer, models: dict, name: str, layout: str, items: list[int]
) -> None:
    workflow, model, _ = models[name]
    due = offline(workflow, model, items)
    with Client(served.http_url, model=f"{name}_{layout}") as client:
        answer = client.recommend({"item_id": items, "timestamp": list(range(len(items)))}, k=ALL)
    assert answer.status == "ok"
    assert list(answer.item_ids) == sorted(due, key=lambda item: -due[item])
    assert list(answer.scores) == pytest.approx([due[item] for item in answer.item_ids], abs=1e-4)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", ["shifted", "as_is"])
def test_unknown_items_and_filters_go_by_raw_id(served: TritonServer, models: dict, name: str, layout: str) -> None:
    with Client(served.http_url, model=f"{name}_{layout}") as client:

        def ask(items: list, **filters: object):
            return client.recommend({"item_id": items, "timestamp": list(range(len(items)))}, k=ALL, **filters)

        for unknown in ([ITEMS], [-1], [None], [10**12, -5]):
            assert ask(unknown).status == "cold"
        assert ask([]).status == "empty"
        seen = ask([0, 2, 1], exclude_seen=True)
        assert sorted(seen.item_ids) == list(range(3, ITEMS))
        assert set(ask([5], allow=[0, 1, 2, 99]).item_ids) == {0, 1, 2}
        assert sorted(ask([5], exclude=[0, 99]).item_ids) == list(range(1, ITEMS))
        if name == "as_is":  # it has no row for what it does not know, and reads the others alone
            workflow, model, _ = models[name]
            due = offline(workflow, model, [4, 0])
            answer = ask([4, 10**6, None, 0])
            assert list(answer.scores) == pytest.approx([due[item] for item in answer.item_ids], abs=1e-4)
