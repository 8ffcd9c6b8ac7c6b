"""A shop with files as shops have them: several, compressed, with semicolons, text ids and names of columns as files may not
have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from serving_tests.support.made.jobs import command

LONG = "visits of the page " + "x" * 241
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


def train(folder: Path) -> None:
    """The run `raw`, of a folder of files with one among them that is none of the data."""
    here = folder / "runs" / "raw"
    (here / "clicks" / ".ipynb_checkpoints").mkdir(parents=True)
    rows = interactions()
    for number, part in enumerate(np.array_split(rows, 2)):
        part.to_csv(here / "clicks" / f"part-{number}.csv.gz", sep=";", index=False)
    rows.to_csv(here / "clicks" / ".ipynb_checkpoints" / "part-0-checkpoint.csv", index=False)
    (here / "config.toml").write_text(CONFIG, encoding="utf-8-sig")
    command("nextitem-train", "--data", here / "clicks", "--config", here / "config.toml", "--output", here / "run")
