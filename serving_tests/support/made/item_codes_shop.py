"""Two models that count items otherwise than Categorify, exported by a program as a user would write it, with what is true."""

from __future__ import annotations

import json
from pathlib import Path

from serving_tests.support.made.jobs import program

ITEMS, WINDOW = 30, 5
LAYOUTS = ("ensemble", "fused")
NAMES = ("shifted", "as_is")
#: Sessions of known items, whose answers are known.
SESSIONS = [[3], [0], [2, 0, 1], [0, 0], [29, 5, 0, 7, 1], [4, 0]]

PROGRAM = f'''
import json

import numpy as np
import nvtabular as nvt
import pandas as pd
import torch
from nvtabular import ops
from torch import nn

from nextitem_export import ExportOptions, export_bundle

KEYS = ["session_id", "timestamp"]


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
        {{
            "session_id": np.sort(random.integers(0, 120, rows)),
            "item_id": np.concatenate([np.arange({ITEMS}), random.integers(0, {ITEMS}, rows - {ITEMS})]),
            "timestamp": pd.to_datetime(1_600_000_000 + np.arange(rows), unit="s"),
        }}
    )


def fitted(columns: object, frame: pd.DataFrame) -> nvt.Workflow:
    grouped = columns + KEYS >> ops.Groupby(
        groupby_cols=["session_id"], sort_cols=["timestamp"], aggs={{"item_id": ["list"]}}
    )
    workflow = nvt.Workflow((grouped["item_id_list"] >> ops.ListSlice(-{WINDOW})) + grouped["session_id"])
    workflow.fit(nvt.Dataset(frame))
    return workflow


# Scores by raw id: NVTabular's own values, those of the session's known items and of each item alone, and the model.
def offline(workflow: nvt.Workflow, model: Rows, items: list[int]) -> dict[int, float]:
    def values(ids: list[int], sessions: object) -> list[list[int]]:
        times = pd.to_datetime(np.arange(len(ids)), unit="s")
        rows = pd.DataFrame({{"session_id": sessions, "item_id": ids, "timestamp": times}})
        return [list(row) for row in workflow.transform(rows)["item_id_list"]]

    (read,) = values(items, 0)
    row_of = [value for (value,) in values(list(range({ITEMS})), range({ITEMS}))]
    padded = torch.tensor([read + [model.padding] * ({WINDOW} - len(read))])
    with torch.no_grad():
        scores = (model.query({{"item_id_list": padded}}) @ model.item_table().T)[0]
    return {{item: float(scores[row]) for item, row in enumerate(row_of)}}


frame = clicks()
encoded = ["item_id"] >> ops.Categorify(out_path="vocabulary") >> ops.LambdaOp(lambda codes: codes + 1)
models = {{
    "shifted": (fitted(encoded, frame), Rows({ITEMS} + 4, 0, "item_id_list"), {{}}),
    "as_is": (fitted(["item_id"], frame), Rows({ITEMS}, -1, "item_id_list"), {{"item_codes": "as-is", "item_padding": -1}}),
}}
reference = {{}}
for name, (workflow, model, options) in models.items():
    for layout in {LAYOUTS}:
        export_bundle(
            model,
            workflow,
            frame[frame.session_id < 40],
            repository="model_repository",
            name=f"{{name}}_{{layout}}",
            options=ExportOptions(layout=layout, **options),
        )
    reference[name] = [list(offline(workflow, model, items).values()) for items in {SESSIONS}]
with open("reference.json", "w") as file:
    json.dump(reference, file)
'''


def make(folder: Path) -> None:
    """Run the program in the folder `item_codes`."""
    program(PROGRAM, folder / "item_codes")


def reference(folder: Path) -> dict[str, list[list[float]]]:
    """For each name and session the scores by raw id, from what the program left."""
    return json.loads((folder / "reference.json").read_text())
