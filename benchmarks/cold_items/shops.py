"""Shops whose items training sees in part: the demo's clicks, and a synthetic one whose items have vectors as texts have."""

from __future__ import annotations

import dataclasses
from typing import Any, cast

import numpy as np
import pandas as pd

from benchmarks.support.own_process import ROOT

SESSION, ITEM, TIME = "session_id", "item_id", "timestamp"
#: The column of content vectors of the synthetic shop.
TEXT = "text"

_CONFIG = """
[data]
categorical = [{clicked}]
window = 20
holdout_days = {holdout_days}
{items}
[model]
body = "gru4rec"
pretraining = "clm"
d_model = 64
layers = 1
heads = 1
normalize = true
temperature = 0.07
dropout = 0.1
layer_norm_eps = 1e-6
initializer_range = 0.05
[training]
epochs = {epochs}
batch_size = 256
learning_rate = 3e-3
seed = {seed}
"""


@dataclasses.dataclass(frozen=True)
class Shop:
    """A shop's data.

    Attributes:
        name: as in the figures' names.
        clicks: SESSION, ITEM, TIME and the columns of `clicked`, in order of time.
        items: one row for each item: ITEM and attributes.
        clicked: columns that differ from click to click, which callers send.
        attributes: the [items] table of the configuration.
        group: the column from whose groups' means items start in a model of ids alone.
        holdout_days: the last days, whose sessions ask.
    """

    name: str
    clicks: pd.DataFrame
    items: pd.DataFrame
    clicked: tuple[str, ...]
    attributes: str
    group: str
    holdout_days: int

    def config(self, *, content: bool, epochs: int, seed: int) -> str:
        """What nextitem-train is told, with the items table or by ids alone."""
        return _CONFIG.format(
            clicked=", ".join(f'"{name}"' for name in self.clicked),
            holdout_days=self.holdout_days,
            items=f"[items]\n{self.attributes}" if content else "",
            epochs=epochs,
            seed=seed,
        )

    @property
    def cutoff(self) -> pd.Timestamp:
        """From here on sessions ask: as nextitem-train splits, by the newest click."""
        return cast("Any", self.clicks)[TIME].max() - pd.Timedelta(days=self.holdout_days)

    def asked(self) -> pd.DataFrame:
        """The clicks of the sessions that begin after the cutoff, one session after the other."""
        return cast("Any", self.clicks)[self._asks].sort_values([SESSION, TIME], kind="stable").reset_index(drop=True)

    def hidden(self, share: float, seed: int) -> set[str]:
        """A share of the items, other ones by each seed."""
        ids = np.sort(self.items[ITEM].to_numpy())
        return set(np.random.default_rng(seed).choice(ids, round(share * len(ids)), replace=False).tolist())

    def without(self, hidden: set[str]) -> pd.DataFrame:
        """The clicks as they are where the hidden items are not in the shop yet: training's without them."""
        return cast("pd.DataFrame", self.clicks[~self.clicks[ITEM].isin([*hidden]) | self._asks])

    @property
    def _asks(self) -> pd.Series:
        begins = cast("Any", self.clicks.groupby(SESSION)[TIME].transform("min"))
        return begins > self.cutoff


def demo_shop(share: int) -> Shop:
    """The demo's clicks, one session in so many; the attributes of items are columns of the clicks there."""
    clicks = pd.read_parquet(ROOT / "demo" / "clicks.parquet")
    file = ROOT / "demo" / "items.parquet"
    names = ["category", "colour", "location", "photography", "page", "price"]
    if file.exists():
        items = pd.read_parquet(file)
        names = [name for name in names if name in items]
    else:
        items = clicks.groupby(ITEM, as_index=False)[names].first()
    clicks = clicks.loc[clicks[SESSION] % share == 0, [SESSION, ITEM, TIME, "country"]]
    items = items[items[ITEM].isin(clicks[ITEM])]
    categorical = [name for name in names if name != "price"]
    attributes = f'categorical = [{", ".join(map(_quoted, categorical))}]\nlog_continuous = ["price"]'
    clicks = clicks.sort_values([TIME, SESSION], kind="stable").reset_index(drop=True)
    return Shop("demo", clicks, cast("pd.DataFrame", items[[ITEM, *names]]), ("country",), attributes, "category", 21)


def _quoted(name: str) -> str:
    return f'"{name}"'


def text_shop(items: int, sessions: int, seed: int = 0) -> Shop:
    """Items with a place in a space of tastes that nobody sees, and a vector of 64 numbers that tells it roughly, as texts do.

    A session has a taste of its own, drifts towards what it clicked and clicks nothing twice; some items are far more popular
    than others. An item's kind is one of 24 directions, the one that it lies nearest to.
    """
    random = np.random.default_rng(seed)
    tastes, width, kinds = 16, 64, 24
    places = random.normal(size=(items, tastes))
    places /= np.linalg.norm(places, axis=1, keepdims=True)
    text = places @ random.normal(size=(tastes, width)) + random.normal(size=(items, width))
    liked = random.gumbel(scale=0.7, size=items)
    kind = (places @ random.normal(size=(tastes, kinds))).argmax(axis=1)
    lengths = random.integers(3, 10, sessions)
    taste = random.normal(size=(sessions, tastes))
    taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    clicked = np.empty((sessions, lengths.max()), dtype=np.int64)
    for step in range(lengths.max()):
        for start in range(0, sessions, 2_000):
            part = slice(start, start + 2_000)
            scores = 14 * taste[part] @ places.T + liked + random.gumbel(size=(len(taste[part]), items))
            np.put_along_axis(scores, clicked[part, :step], -np.inf, axis=1)
            clicked[part, step] = scores.argmax(axis=1)
        taste = 0.7 * taste + 0.5 * places[clicked[:, step]]
        taste /= np.linalg.norm(taste, axis=1, keepdims=True)
    of_session = np.repeat(np.arange(sessions), lengths)
    step = np.arange(len(of_session)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    seconds = 1_600_000_000 + of_session * 600 + step * 20
    clicks = pd.DataFrame(
        {
            SESSION: of_session,
            ITEM: [f"t{item}" for item in clicked[of_session, step]],
            TIME: pd.to_datetime(seconds, unit="s"),
        }
    )
    table = pd.DataFrame(
        {
            ITEM: [f"t{item}" for item in range(items)],
            "kind": [f"k{number}" for number in kind],
            TEXT: list(text.astype(np.float32)),
        }
    )
    table = cast("pd.DataFrame", table[table[ITEM].isin(clicks[ITEM])]).reset_index(drop=True)
    days = max(1, round(sessions * 600 / 86_400 / 8))
    return Shop("text", clicks, table, (), f'categorical = ["kind"]\nvectors = "{TEXT}"', "kind", days)
