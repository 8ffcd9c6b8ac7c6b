"""The data sets, each by its published protocol: what is trained on, what is asked, and which figures others report.

Every data set has two stages. `validation` is for choosing: a model's configuration, V-SkNN's. `test` is asked once, when all
is chosen. No stage trains on what it asks, and `validation` sees nothing of the test part.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd

from benchmarks.accuracy.sessions import (
    SESSION,
    TIME,
    Questions,
    arranged,
    as_rows,
    every_prefix,
    last_of_each,
    read_lines,
)

VALIDATION, TEST = "validation", "test"


@dataclass(frozen=True)
class Stage:
    """One training and what is asked after it."""

    name: str
    """Of the files that it needs: two stages of one name train on the same."""
    written: pd.DataFrame
    """The interactions for nextitem-train, what it holds out by itself included."""
    settings: Mapping[str, float | str | bool]
    """Of [data], under which it holds that out and judges by it."""
    training: pd.DataFrame
    """What it trains on, for the baselines: rows of whole sessions, the oldest session first."""
    questions: Questions


@dataclass(frozen=True)
class DataSet:
    """A data set and its protocol."""

    read: Callable[[Path, str, bool, bool], Stage]
    """(folder, stage, whether checkpoints are judged while training, whether quick) → the stage."""
    files: tuple[str, ...]
    """That the folder has to hold."""
    metrics: tuple[str, ...]
    """What is reported of it; the first chooses among configurations."""
    protocol: str


def diginetica(folder: Path, stage: str, judged: bool, quick: bool) -> Stage:
    """SR-GNN's split, every prefix a question. Validation asks the newest training sessions, as many as test has."""
    training, test = (read_lines(folder / f"{part}_sessions.txt.xz") for part in ("train", "test"))
    if quick:
        training, test = training[-20_000:], test[:1_000]
    older, newest = training[: -len(test)], training[-len(test) :]
    known, asked = (older, newest) if stage == VALIDATION or judged else (training, test)
    asked = newest if stage == VALIDATION else test
    written, settings = arranged(known, asked, newest if judged else ())
    name = _named("diginetica", stage, judged, quick)
    return Stage(name, written, settings, as_rows(known), every_prefix(as_rows(asked)))


def beauty(folder: Path, stage: str, judged: bool, quick: bool) -> Stage:
    """Leave-one-out: of each user the last item is the test's, the one before validation's; items of the input are no answer.

    It is nextitem-train's own leave-one-out. Both stages train on what is before these two, so that one training serves both:
    without checkpoints to judge it is given no test items and its metrics are those of the validation stage, otherwise those
    of the test. The test's input includes the validation item. So Klenitskiy and Vasilev (2023,
    github.com/antklen/sasrec-bert4rec-recsys23), `filter_seen` included.
    """
    users = [user[1:] for user in read_lines(folder / "Beauty.txt.xz")]
    if quick:
        users = users[:2_000]
    training, validation = [user[:-2] for user in users], [user[:-1] for user in users]
    written = as_rows(users if judged else validation)
    settings = {"holdout": "last-interaction", "validation_interaction": judged, "exclude_seen": True}
    asked = as_rows(validation if stage == VALIDATION else users)
    name = _named("beauty", TEST, judged, quick)
    return Stage(name, written, settings, as_rows(training), last_of_each(asked, hides_seen=True))


def eshop(folder: Path, stage: str, judged: bool, quick: bool) -> Stage:
    """The demo's clicks and the project's own hold-out: sessions that start in the last three weeks, their last click asked.

    Validation does the same to the clicks before. `folder` holds the demo's clicks.parquet.
    """
    days = 21.0
    clicks = pd.read_parquet(folder / "clicks.parquet")
    if quick:
        clicks = clicks.loc[clicks[SESSION] % 8 == 0]
    if stage == VALIDATION:
        clicks = _before(clicks, days)
    cutoff = cast("Any", clicks[TIME].max()) - pd.Timedelta(days=days)
    starts = clicks.groupby(SESSION)[TIME].transform("min")
    settings = {"holdout_days": days}
    training = clicks.loc[clicks[TIME] <= cutoff]
    if judged:
        settings["validation_days"] = days / 3
        training = clicks.loc[clicks[TIME] <= cutoff - pd.Timedelta(days=days / 3)]
    name = _named("eshop", stage, judged, quick)
    asked = _in_order(clicks.loc[starts > cutoff])
    return Stage(name, clicks.reset_index(drop=True), settings, _in_order(training), last_of_each(asked))


DATA_SETS = {
    "diginetica": DataSet(
        diginetica,
        ("train_sessions.txt.xz", "test_sessions.txt.xz"),
        ("recall20", "mrr20"),
        "SR-GNN's split; every prefix of a test session is a question; the whole catalogue is ranked, nothing hidden",
    ),
    "beauty": DataSet(
        beauty,
        ("Beauty.txt.xz",),
        ("ndcg10", "recall10"),
        "Amazon Beauty 5-core, leave-one-out; the whole catalogue is ranked but for items of the input",
    ),
    "eshop": DataSet(
        eshop,
        ("clicks.parquet",),
        ("recall20", "mrr20", "ndcg20"),
        "the demo's clicks; last click of the sessions that start in the last 21 days; the whole catalogue is ranked",
    ),
}


def read_stage(data_set: str, folder: Path, stage: str, *, judged: bool = False, quick: bool = False) -> Stage:
    """A data set's stage; `judged` keeps sessions from training by which nextitem-train chooses a checkpoint."""
    return DATA_SETS[data_set].read(folder, stage, judged, quick)


def _named(data_set: str, stage: str, judged: bool, quick: bool) -> str:
    parts = [data_set, stage, *(["judged"] if judged else []), *(["quick"] if quick else [])]
    return "-".join(parts)


def _before(clicks: pd.DataFrame, days: float) -> pd.DataFrame:
    """Clicks up to the last `days`, as nextitem-train leaves them for training."""
    cutoff = cast("Any", clicks[TIME].max()) - pd.Timedelta(days=days)
    return clicks.loc[clicks[TIME] <= cutoff]


def _in_order(clicks: pd.DataFrame) -> pd.DataFrame:
    """The oldest session first, each session's clicks in their order."""
    started = clicks.groupby(SESSION)[TIME].transform("min")
    ordered = clicks.assign(started=started, place=range(len(clicks))).sort_values(["started", SESSION, TIME, "place"])
    return ordered.drop(columns=["started", "place"]).reset_index(drop=True)
