"""A shop small enough to fit and export in a second: the workflow as a user would write it, with a tiny model."""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING
from nextitem_export import ExportOptions
from nextitem_export.layouts import LAYOUTS
from nextitem_export.layouts.steps import write_steps
from nextitem_export.options import Columns
from nextitem_export.parity.gate import Gate
from nextitem_export.parity.items import ItemReference
from nextitem_export.parity.reference import Reference
from nextitem_export.plan import Plan, make_plan
from nextitem_export.workflow.fitted import FittedWorkflow

WINDOW = 4


class TinyModel(nn.Module):
    """Sums embeddings weighted by position from the end; reads items, category and price."""

    item_feature = "item_id-list"
    feature_names = ("item_id-list", "category-list", "price-list")

    def __init__(self, items: int, categories: int, width: int = 8) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.items = nn.Embedding(items, width)
        self.categories = nn.Embedding(categories, width)
        self.price = nn.Linear(1, width)

    def query(self, features: dict[str, torch.Tensor]) -> torch.Tensor:
        codes = features["item_id-list"]
        real = (codes != 0).float().unsqueeze(-1)
        steps = self.items(codes) + self.categories(features["category-list"])
        steps = torch.tanh(steps + self.price(features["price-list"].unsqueeze(-1))) * real
        age = real.flip(1).cumsum(1).flip(1)
        return (steps / age.clamp(min=1)).sum(1)

    def item_table(self) -> torch.Tensor:
        return self.items.weight


def interactions(sessions: int = 60, seed: int = 0, *, string_items: bool = True) -> pd.DataFrame:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 9, sessions)
    rows = int(lengths.sum())
    item = random.zipf(1.5, rows) % 30
    return pd.DataFrame(
        {
            "session_id": np.repeat(np.arange(sessions), lengths),
            # Odd and beyond 2**53: no float64 holds them.
            "item_id": [f"ø{i}" for i in item] if string_items else item * 2 + 2**60 + 1,
            "timestamp": pd.to_datetime(1_600_000_000 + np.sort(random.integers(0, 10**6, rows)), unit="s"),
            "category": item % 5,
            "price": (1 + item).astype("float32"),
            "position": np.arange(rows),
        }
    )


def fit(
    frame: pd.DataFrame,
    folder: Path,
    *,
    window_slice: tuple[int, ...] | None = (-WINDOW,),
    session_operator=None,
    tie_breaker: bool = True,
    session_output: bool = True,
):
    """Fit the shop's workflow; NVTabular writes its vocabularies into `folder`."""
    import nvtabular as nvt
    from nvtabular import ops

    codes = ["item_id", "category"] >> ops.Categorify(dtype="int64", out_path=str(folder))
    price = ["price"] >> ops.LogOp() >> ops.Normalize() >> ops.FillMissing(0)
    time = ["timestamp", "position"] if tie_breaker else ["timestamp"]
    grouped = codes + price + ["session_id", *time] >> ops.Groupby(
        groupby_cols=["session_id"],
        sort_cols=time,
        aggs={"item_id": ["list", "count"], "category": ["list"], "price": ["list"]},
        name_sep="-",
    )
    lists = grouped["item_id-list", "category-list", "price-list"]
    if window_slice:
        lists = lists >> ops.ListSlice(*window_slice)
    output = lists + grouped["session_id", "item_id-count"] if session_output else lists + grouped["item_id-count"]
    if session_operator:
        output = output >> session_operator
    workflow = nvt.Workflow(output)
    workflow.fit(nvt.Dataset(frame))
    return workflow


def model_for(workflow) -> TinyModel:
    schema = workflow.output_schema
    items, categories = (
        schema[name].properties["embedding_sizes"]["cardinality"] for name in ("item_id-list", "category-list")
    )
    return TinyModel(items, categories).eval()


def plan_of(workflow, frame: pd.DataFrame, model: nn.Module | None = None, **changes) -> Plan:
    """The plan of an export with `export_bundle`'s defaults, but for the shop's tie-breaker."""
    arguments = {
        "item_column": "item_id",
        "item_feature": None,
        "features": None,
        "window": None,
        "tie_breaker_column": "position",
        "raw_dtypes": None,
        "options": ExportOptions(),
    }
    assert not changes.keys() - arguments.keys()
    columns = arguments | changes
    options = columns.pop("options")
    plan = make_plan(model or model_for(workflow), workflow, frame, Columns(**columns), options)
    return dataclasses.replace(plan, signature=dataclasses.replace(plan.signature, bundle_version=1))


def steps_of(plan: Plan, folder: Path, **options) -> tuple[Path, Path, Path]:
    """Build the three steps; returns the version folders of features, retrieval and items."""
    folders = LAYOUTS["ensemble"]("shop").folders(folder, plan.signature.bundle_version)
    write_steps(folders, plan, ExportOptions(**options))
    return folders


def reference_of(plan: Plan, items: ItemReference | None = None) -> Reference:
    if items is None:
        ids = plan.vocabulary.values
        null = np.array([NULL_STRING if ids.dtype == object else NULL_INT64] * FIRST_ITEM, dtype=ids.dtype)
        items = ItemReference(np.concatenate([null, ids]), plan.probe)
    return Reference(plan, items)


def gate_of(plan: Plan, folders: tuple[Path, Path, Path]) -> Gate:
    items = ItemReference.read(folders[2], plan.vocabulary.cardinality, plan.probe)
    return Gate(folders, reference_of(plan, items), plan, items)


def snapshot(folder: Path) -> dict[str, bytes | None]:
    """Every path below a folder with its bytes, None for a folder."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@contextlib.contextmanager
def asked_once(workflow) -> Iterator[None]:
    """What NVTabular answers for this workflow is kept: each export asks it the same questions, which take most of its time.

    A question is the frame with the types of its columns; what comes back is another copy each time.
    """
    answers: dict[tuple[str, str], pd.DataFrame | Exception] = {}

    def kept(name: str):
        ask = getattr(FittedWorkflow, name)

        def transform(fitted: FittedWorkflow, rows: pd.DataFrame) -> pd.DataFrame:
            if fitted.workflow is not workflow:
                return ask(fitted, rows)
            question = name, repr((rows.dtypes.to_dict(), rows.index.tolist(), rows.to_numpy(object).tolist()))
            if question not in answers:
                try:
                    answers[question] = ask(fitted, rows)
                except Exception as error:  # noqa: BLE001  NVTabular raises what pandas raised
                    answers[question] = error
            answer = answers[question]
            if isinstance(answer, Exception):
                raise answer.with_traceback(None)
            return answer.copy()

        return transform

    with pytest.MonkeyPatch.context() as patch:
        for name in ("transform", "transform_all"):
            patch.setattr(FittedWorkflow, name, kept(name))
        yield
