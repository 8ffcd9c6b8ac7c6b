"""Training over time windows: up to a day, judged by the days after it, then on from there with these.

The evaluation of a model that is trained anew every so many days (incremental training as in Transformers4Rec; de Souza Pereira
Moreira et al., 2021). Every window's workflow is fitted on all interactions up to its cutoff, so that codes and popularity are
those of that day; the model goes on from the window before and learns from the sessions that are new since.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nextitem_training.config import Config
from nextitem_training.config.data import DAYS
from nextitem_training.data.fingerprint import fingerprint, refuse_other
from nextitem_training.data.split import Split, duration, split_at
from nextitem_training.errors import ConfigError, DataError, RunDirectoryError
from nextitem_training.interactions import read_interactions
from nextitem_training.items.table import check_items, read_items
from nextitem_training.run_directory import WEIGHTS, RunDirectory
from nextitem_training.starting.warm_start import WarmStart, as_imported
from nextitem_training.train import Output, check, train_on

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster

logger = logging.getLogger(__name__)

REPORT = "windows.json"
_BEGUN = "begun.json"
MEAN = "mean"


@dataclass(frozen=True)
class Windows:
    """How the days that are held out are gone through."""

    days: int
    """Of a window."""
    epochs: int | None = None
    """Of a training that goes on; as [training] says if None."""

    def __post_init__(self) -> None:
        for name, value in (("--incremental-days", self.days), ("--incremental-epochs", self.epochs)):
            if value is not None and value < 1:
                raise ConfigError(f"{name} is {value}; it has to be at least 1.")

    def going_on(self, config: Config) -> Config:
        """The configuration of all windows but the first."""
        if self.epochs is None:
            return config
        return dataclasses.replace(config, training=dataclasses.replace(config.training, epochs=self.epochs))

    def check(self, config: Config) -> None:
        """Raises ConfigError where the data is not held out by time."""
        if config.data.holdout != DAYS:
            raise ConfigError(
                f"--incremental-days goes through the days that are held out, but [data] holdout is '{config.data.holdout}', "
                f"which holds out none; set holdout = '{DAYS}' or leave --incremental-days out."
            )

    def splits(self, frame: pd.DataFrame, config: Config) -> list[Split]:
        """One for each window that has sessions to learn from and to be judged by, in order of time.

        A window without is left out, and its interactions are learnt from in the next. Raises DataError where none is left.
        """
        time = frame[config.data.time_column]
        newest: Any = time.max()
        cutoff = newest - duration(config.data.holdout_days)
        found: list[Split] = []
        reason: DataError | None = None
        while cutoff < newest:
            until = min(cutoff + duration(self.days), newest)
            try:
                since = found[-1].cutoff if found else None
                found.append(split_at(frame.loc[time <= until].reset_index(drop=True), cutoff, config.data, since))
            except DataError as error:
                reason = error
                logger.warning("The window from %s to %s is left out: %s", cutoff, until, error)
            cutoff = until
        if not found and reason:
            raise reason
        return found


def train_windows(
    data: str | Path,
    config: Config,
    output: str | Path,
    windows: Windows,
    *,
    overwrite: bool = False,
    resume: bool = False,
    init_from: str | Path | None = None,
    items: str | Path | None = None,
    cluster: Cluster | None = None,
) -> dict[str, dict[str, float]]:
    """Trains window by window; writes `<output>/<date of the cutoff>` for each and `windows.json`.

    `resume` goes on where an earlier call was cut off: windows that are done stay as they are.

    Returns:
        The model's metrics by window and their mean.

    Raises NextItemTrainingError as `train.train_run` does.
    """
    folder = Path(output)
    _refuse_existing(folder, resume=resume, overwrite=overwrite)
    windows.check(config)
    config = as_imported(config, init_from) if init_from else config
    check(config)
    check_items(items, config.items)
    warm = WarmStart(init_from, config) if init_from else None
    frame, dtypes = read_interactions(data, config.data)
    table = read_items(items, config, dtypes[config.data.item_column])
    splits = windows.splits(frame, config)
    begun = fingerprint(
        config, frame, warm.run.path / WEIGHTS if warm else None, items=table.to_arrow() if table else None
    )
    begun["configuration"] |= {"--incremental-days": windows.days, "--incremental-epochs": windows.epochs}
    _begin(folder, begun, overwrite=overwrite and not resume)
    runs: list[RunDirectory] = []
    for number, split in enumerate(splits):
        place = folder / f"{split.cutoff:%Y-%m-%d}"
        if place.exists():
            logger.info("%s is done.", place)
            runs.append(RunDirectory.open(place))
        else:
            logger.info("Window %d of %d, up to %s.", number + 1, len(splits), split.cutoff)
            chosen = config if not number else windows.going_on(config)
            warm = WarmStart(runs[-1].path, chosen) if runs else warm
            rows = pd.concat([split.training, split.validation, split.held_out])
            runs.append(
                train_on(rows, split, dtypes, chosen, Output(place, resume=True), warm, cluster, items=table).run
            )
        _report(folder, windows, runs)
    return _by_window(runs)


def _refuse_existing(folder: Path, *, resume: bool, overwrite: bool) -> None:
    if not folder.exists():
        return
    if not (folder / _BEGUN).is_file():
        raise RunDirectoryError(f"The output {folder} exists and holds no time windows; choose another --output.")
    if not resume and not overwrite:
        raise RunDirectoryError(
            f"The output {folder} holds time windows already. Pass --resume to go on with those that are lacking, "
            "--overwrite to begin anew, or choose another --output."
        )


def _begin(folder: Path, begun: Mapping[str, Any], *, overwrite: bool) -> None:
    """Compares with what was begun, or begins."""
    if overwrite and folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    if (folder / _BEGUN).exists():
        refuse_other(json.loads((folder / _BEGUN).read_text(encoding="utf-8")), begun, folder)
    else:
        _write_json(folder / _BEGUN, begun)


def _report(folder: Path, windows: Windows, runs: Sequence[RunDirectory]) -> None:
    entries = [{"run": run.path.name, **run.metrics()} for run in runs]
    rankers = entries[0]["metrics"]
    mean = {name: _mean([entry["metrics"][name] for entry in entries]) for name in rankers}
    _write_json(folder / REPORT, {"days": windows.days, "windows": entries, MEAN: mean})


def _by_window(runs: Sequence[RunDirectory]) -> dict[str, dict[str, float]]:
    found = {run.path.name: run.metrics()["metrics"]["model"] for run in runs}
    return {**found, MEAN: _mean([*found.values()])}


def _mean(metrics: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """Of windows, each of the same weight, whatever its number of sessions."""
    return {name: float(np.mean([entry[name] for entry in metrics])) for name in metrics[0]}


def _write_json(path: Path, content: Mapping[str, Any]) -> None:
    beside = path.with_suffix(".new")
    beside.write_text(json.dumps(content, indent=2), encoding="utf-8")
    os.replace(beside, path)
