"""A shop whose model knows items by the rows of a table, and whose workflow is whatever a test says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from nextitem_bundle.runtime.signature import Signature
from nextitem_bundle.runtime.step import open_step
from nextitem_export import Bundle, ExportOptions, export_bundle
from nextitem_export.wire import request_tensors

KEYS = ["session_id", "timestamp", "position"]
ITEMS = 9


class Rows(nn.Module):
    """Knows an item by its row: the query of a session is the mean of its rows, each weighted by its place."""

    def __init__(self, rows: int, padding: int = 0, feature: str = "item_id-list") -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(rows, 8)
        self.padding = padding
        self.feature_names = (feature,)

    def query(self, features):
        values = features[self.feature_names[0]]
        real = values != self.padding
        last = (real.sum(dim=1, keepdim=True) - 1).clamp(min=0)  # (B, 1)
        steps = self.items(torch.where(real, values, 0)) * real[..., None]
        newest = steps.gather(1, last[..., None].expand(-1, 1, 8))[:, 0]
        return newest + steps.sum(1) / 3

    def item_table(self):
        return self.items.weight


class Scores(Rows):
    """The same for a model that gives scores alone."""

    query = property()  # what nn.Module takes for none

    def forward(self, features):
        return Rows.query(self, features) @ self.items.weight.T


#: Both kinds of model, and ways of exporting them.
EVERY_FORM = [
    (Rows, {"format": "torchscript"}),
    pytest.param(Rows, {"format": "onnx_dynamo"}, marks=pytest.mark.slow),
    (Rows, {"layout": "fused"}),
    pytest.param(Rows, {"runtime": "native"}, marks=pytest.mark.slow),
    pytest.param(Scores, {"format": "torchscript"}, marks=pytest.mark.slow),
    (Scores, {"runtime": "native"}),
    pytest.param(Scores, {"format": "onnx_dynamo"}, marks=pytest.mark.slow),
    pytest.param(Scores, {"layout": "fused"}, marks=pytest.mark.slow),
]


def clicks(values, sessions: int = 12) -> pd.DataFrame:
    random = np.random.default_rng(0)
    lengths = random.integers(1, 7, sessions)
    rows = int(lengths.sum())
    return pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(sessions), lengths),
            "item_id": np.resize(random.permutation(np.resize(values, rows)), rows),
            "timestamp": pd.to_datetime(1_600_000_000 + np.arange(rows), unit="s"),
            "position": np.arange(rows),
            "category": random.integers(0, 4, rows),
        }
    )


STRINGS = np.array([f"ø{i}" for i in range(ITEMS)], dtype=object)
NUMBERS = np.arange(ITEMS) * 3 + 100


def fit(columns, frame, names=("item_id",)) -> nvt.Workflow:
    grouped = columns + KEYS >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=KEYS[1:], aggs={name: ["list"] for name in names}, name_sep="-"
    )
    lists = grouped[[f"{name}-list" for name in names]] >> ops.ListSlice(-4)
    workflow = nvt.Workflow(lists + grouped["session_id"])
    workflow.fit(nvt.Dataset(frame))
    return workflow


class Asked:
    """An exported bundle, asked step by step. options: of the export."""

    def __init__(self, folder: Path, workflow: nvt.Workflow, frame: pd.DataFrame, model: nn.Module, **options) -> None:
        self.bundle = exported(folder, workflow, frame, model, **options)
        self._steps = [open_step(folder / f"shop_{step}" / "1") for step in ("features", "retrieval", "items")]
        self._signature = Signature.from_json(json.loads(self.bundle.manifest.read_text())["request"])
        self._frame = frame

    def __call__(self, *sessions, **tensors) -> dict:
        """The answer to sessions of these raw ids, None for null; `codes` has what the features step made of them."""
        features, retrieval, items = self._steps
        frames = [self._frame.iloc[: len(ids)].assign(item_id=pd.Series(list(ids), dtype=object)) for ids in sessions]
        top_k = np.full((len(sessions), 1), 20, np.int32)
        encoded = features.run(request_tensors(frames, self._signature.features) | {"top_k": top_k} | tensors)
        ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
        tensors = [*list(ranked.values())[:3], encoded["top_k_checked"]]
        return {**items.run(dict(zip(items.inputs, tensors, strict=True))), "codes": next(iter(encoded.values()))}


def exported(folder: Path, workflow, frame, model, *, names=None, item_feature=None, **options) -> Bundle:
    """The bundle `shop` in this repository."""
    return export_bundle(
        model,
        workflow,
        frame,
        repository=folder,
        name="shop",
        tie_breaker_column="position",
        features=names,
        item_feature=item_feature,
        options=ExportOptions(**options),
    )


def offline(workflow, frame, model, ids) -> dict:
    """Scores by raw id: NVTabular's own values of one session through the model, and of each item alone for its row."""
    rows = frame.iloc[: len(ids)].assign(item_id=ids, session_id=0, position=range(len(ids)))
    values = np.asarray(workflow.transform(rows)["item_id-list"].iloc[0])
    padded = torch.from_numpy(np.pad(values, (0, 4 - len(values)), constant_values=model.padding))[None]
    with torch.no_grad():
        scores = (Rows.query(model, {"item_id-list": padded}) @ model.items.weight.T)[0].numpy()
    known = frame["item_id"].unique()
    each = frame.iloc[np.zeros(len(known), int)].assign(item_id=known, session_id=range(len(known)))
    row_of = [int(row[0]) for row in workflow.transform(each.reset_index(drop=True))["item_id-list"]]
    return {item: scores[row] for item, row in zip(known.tolist(), row_of, strict=True)}


def agrees(answer, right: dict) -> None:
    count = len(right)
    ids = answer["item_ids"][0]
    assert sorted(ids[:count].tolist()) == sorted(right)
    np.testing.assert_allclose(answer["scores"][0, :count], sorted(right.values(), reverse=True), atol=1e-5)
    np.testing.assert_allclose(answer["scores"][0, :count], [right[item] for item in ids[:count].tolist()], atol=1e-5)
