"""A shop whose model predicts more than the next item, exported by a program as a user would write it, with what is true."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pandas as pd

from serving_tests.support.made import shop
from serving_tests.support.made.jobs import program

WINDOW = 8
#: The bundles by name, and the options of their exports.
BUNDLES = {
    "heads": {},
    "heads_torchscript": {"format": "torchscript"},
    "heads_fused": {"layout": "fused"},
    "heads_fused_torchscript": {"layout": "fused", "format": "torchscript"},
}
HEADS = {"is_buy": 1, "style": 3}

PROGRAM = f'''
import numpy as np
import nvtabular as nvt
import pandas as pd
import torch
from nvtabular import ops
from torch import nn

from nextitem_export import ExportOptions, export_bundle

clicks = pd.read_parquet("clicks.parquet")
clicks["row_position"] = range(len(clicks))
codes = ["item_id", "category"] >> ops.Categorify(out_path="categories")
price = ["price"] >> ops.LogOp() >> ops.Normalize() >> ops.FillMissing(0)
grouped = codes + price + ["session_id", "timestamp", "row_position"] >> ops.Groupby(
    groupby_cols="session_id",
    sort_cols=["timestamp", "row_position"],
    aggs={{"item_id": "list", "category": "list", "price": "list"}},
)
lists = grouped["item_id_list", "category_list", "price_list"] >> ops.ListSlice(-{WINDOW})
workflow = nvt.Workflow(lists + grouped["session_id"])
workflow.fit(nvt.Dataset(clicks))
NAMES = ("item_id_list", "category_list", "price_list")
items, categories = (
    workflow.output_schema[name].properties["embedding_sizes"]["cardinality"] for name in NAMES[:2]
)


class Model(nn.Module):
    """Items come with vectors that somebody else trained; the body's last step is what both heads read."""

    feature_names = NAMES
    head_widths = {HEADS!r}

    def __init__(self, width=16):
        super().__init__()
        torch.manual_seed(0)
        self.pretrained = nn.Embedding.from_pretrained(torch.randn(items, 24))
        self.project = nn.Linear(24, width)
        self.items, self.categories = nn.Embedding(items, width), nn.Embedding(categories, width)
        self.price = nn.Linear(1, width)
        self.body = nn.GRU(width, width, batch_first=True)
        self.is_buy, self.style = nn.Linear(width, 1), nn.Linear(width, 3)

    def query(self, features):
        return self.query_and_heads(features)[0]

    def query_and_heads(self, features):
        codes, categories, price = (features[name] for name in NAMES)
        steps = self.items(codes) + self.project(self.pretrained(codes)) + self.categories(categories)
        hidden, _ = self.body(steps + self.price(price[..., None]))
        last = ((codes != 0).sum(dim=1) - 1).clamp(min=0)
        query = hidden.gather(1, last[:, None, None].expand(-1, 1, hidden.shape[2])).squeeze(1)
        return query, {{"is_buy": torch.sigmoid(4 * self.is_buy(query)), "style": 50 * self.style(query)}}

    def item_table(self):
        return self.items.weight


model = Model().eval()
for name, options in {BUNDLES!r}.items():
    export_bundle(
        model,
        workflow,
        clicks[clicks.session_id.isin(clicks.session_id.unique()[-6:])],
        repository="repository",
        name=name,
        tie_breaker_column="row_position",
        options=ExportOptions(**options),
    )
asked = pd.read_parquet("asked.parquet")
asked["row_position"] = range(len(asked))
table = workflow.transform(nvt.Dataset(asked)).to_ddf().compute().set_index("session_id").sort_index()
features = {{}}
for name in NAMES:
    rows = [np.pad(row, (0, {WINDOW} - len(row))) for row in table[name]]
    features[name] = torch.from_numpy(np.stack(rows).astype(np.float32 if name == "price_list" else np.int64))
with torch.no_grad():
    _, heads = model.query_and_heads(features)
np.savez("reference.npz", **{{name: values.numpy() for name, values in heads.items()}})
'''


@dataclasses.dataclass(frozen=True)
class HeadsShop:
    """What was exported. features: as in the signature. sessions: raw; heads: of each, by name, float32 [S, N]."""

    repository: Path
    features: list[dict[str, str]]
    sessions: list[pd.DataFrame]
    heads: dict[str, np.ndarray]


def asked(sessions: list[pd.DataFrame]) -> list[pd.DataFrame]:
    """Of these sessions some, and one that is longer than the window."""
    long = pd.concat(sessions[:6], ignore_index=True)
    long["timestamp"] = pd.date_range("2008-08-01", periods=len(long), freq="min")
    assert len(long) > WINDOW
    return [*sessions[:30], long]


def make(folder: Path) -> None:
    """Run the program in the folder `heads`, on the shop's last clicks."""
    here = folder / "heads"
    here.mkdir()
    clicks = shop.clicks()
    clicks[-6000:].to_parquet(here / "clicks.parquet")
    numbered = [session.assign(session_id=number) for number, session in enumerate(asked(shop.sessions(clicks)))]
    pd.concat(numbered, ignore_index=True).to_parquet(here / "asked.parquet")
    program(PROGRAM, here)


def opened(folder: Path, sessions: list[pd.DataFrame]) -> HeadsShop:
    """What the program left in this folder or in a copy of it. sessions: the shop's held-out ones."""
    manifest = json.loads((folder / "repository" / "heads" / "1" / "bundle.json").read_text())
    with np.load(folder / "reference.npz") as reference:
        return HeadsShop(folder / "repository", manifest["request"]["features"], asked(sessions), dict(reference))
