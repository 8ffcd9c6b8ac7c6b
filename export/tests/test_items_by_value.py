"""Item features that hold something else than Categorify's codes: answered by the right raw ids, or refused by name."""

from __future__ import annotations

import json

import numpy as np
import nvtabular as nvt
import pandas as pd
import pytest
import torch
from nvtabular import ops
from torch import nn

from nextitem_export import ExportError, ExportOptions, UnsupportedWorkflow, export_bundle
from nextitem_export.runtime.step import open_step
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


def clicks(values, sessions: int = 40) -> pd.DataFrame:
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


@pytest.fixture
def export(tmp_path):
    """Exports a workflow with a model of `rows` rows and returns what the bundle answers to raw sessions."""

    def run(workflow, frame, model, **options):
        bundle = export_bundle(
            model, workflow, frame, repository=tmp_path / "repository", name="shop", tie_breaker_column="position",
            options=ExportOptions(**options),
        )  # fmt: skip
        features, ranker, items = (
            open_step(bundle.repository / f"shop_{step}" / "1") for step in ("features", "ranker", "items")
        )
        signature = json.loads(bundle.manifest.read_text())["request"]

        def ask(*sessions, **tensors):
            from nextitem_export.runtime.signature import Signature

            columns = Signature.from_json(signature).features
            frames = [frame.iloc[: len(ids)].assign(item_id=pd.Series(list(ids), dtype=object)) for ids in sessions]
            request = request_tensors(frames, columns) | tensors
            encoded = features.run(request | {"top_k": np.full((len(sessions), 1), 20, np.int32)})
            ranked = ranker.run({name: encoded[name] for name in ranker.inputs})
            answer = items.run(dict(zip(items.inputs, [*list(ranked.values())[:3], encoded["top_k_checked"]], strict=True)))
            return answer | {"codes": next(iter(encoded.values()))}

        return ask

    return run


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


MAPS = {
    "shift": (lambda c: c + 1, ITEMS + 4),
    "product": (lambda c: c * 2, 2 * ITEMS + 5),
    "from one, padding 0 for what is no item": (lambda c: (c - 2).clip(lower=0), ITEMS + 1),
    "reversed": (lambda c: 20 - c, 21),
    "cast": (lambda c: c.astype("int32"), ITEMS + 3),
    "where": (lambda c: np.where(c < 3, c, c + 4), ITEMS + 7),
    "lookup": (lambda c: c.map({1: 1, 2: 2, **{i + 3: 3 + (i * 2) % ITEMS for i in range(ITEMS)}}), ITEMS + 3),
}


@pytest.mark.parametrize("features", ["compiled", "nvtabular"])
@pytest.mark.parametrize("values", [STRINGS, NUMBERS], ids=["strings", "numbers"])
@pytest.mark.parametrize("name", MAPS)
def test_what_a_function_makes_of_codes_is_answered_by_raw_ids(export, tmp_path, name, values, features):
    function, rows = MAPS[name]
    if features == "nvtabular" and name not in ("shift", "lookup"):
        pytest.skip("the same step for all")
    frame = clicks(values)
    codes = ["item_id"] >> ops.Categorify(out_path=str(tmp_path)) >> ops.LambdaOp(function)
    workflow, model = fit(codes, frame), Rows(rows)
    ask = export(workflow, frame, model, features=features)
    session = values[[4, 1, 7]]
    answer = ask(session)
    agrees(answer, offline(workflow, frame, model, session))
    assert answer["codes"][0, 3] == 0
    unknown = ["nothing like it"] if values is STRINGS else [7]
    assert ask(unknown)["status"].tolist() == [[b"cold"]] or ask(unknown)["status"].tolist() == [["cold"]]
    seen = ask(session, exclude_seen=np.array([[True]]))["item_ids"][0]
    assert not set(seen.tolist()) & set(session.tolist())
