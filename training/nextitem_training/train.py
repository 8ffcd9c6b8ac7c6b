"""One training run, from interactions to a run directory."""

from __future__ import annotations

import dataclasses
import logging
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from nextitem_training import run_directory, workflow
from nextitem_training.bodies import check_combination
from nextitem_training.config import Config, DataConfig
from nextitem_training.config.names import check_sent
from nextitem_training.config.reading import sent_columns
from nextitem_training.data.fingerprint import fingerprint
from nextitem_training.data.given import TEST_OPTION, GivenFiles
from nextitem_training.data.split import Given, Split, sample_sessions, split_interactions
from nextitem_training.data.targets import check_targets
from nextitem_training.evaluation import last_of_each, metrics_of, model_ranks
from nextitem_training.evaluation.baselines import (
    CO_OCCURRENCE,
    MODEL,
    POPULARITY,
    baseline_warning,
    cooccurrence_ranks,
    popularity_ranks,
)
from nextitem_training.evaluation.heads import evaluate_heads
from nextitem_training.evaluation.log import read_log
from nextitem_training.evaluation.plots import draw
from nextitem_training.interactions import read_interactions
from nextitem_training.items.catalogue import FittedItems, as_kept
from nextitem_training.items.table import ItemsTable, check_items, read_items
from nextitem_training.loop.micro_batch_trainer import Validation
from nextitem_training.loop.trainer import best_step, check_training, new_model
from nextitem_training.loop.training_folder import TrainingFolder
from nextitem_training.loop.workers import SharedTraining, train_with_workers
from nextitem_training.model import SessionModel
from nextitem_training.pretraining import objective_for
from nextitem_training.run_directory import RunDirectory, new_run_directory, refuse_existing
from nextitem_training.starting.encoding import Encoded, fit_and_encode
from nextitem_training.starting.preparation import prepare
from nextitem_training.starting.pretrained_items import read_pretrained
from nextitem_training.starting.unclicked import with_unclicked
from nextitem_training.starting.warm_start import CarriedOver, WarmStart, as_imported

if TYPE_CHECKING:
    from nextitem_training.cluster import Cluster

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """A finished run and what the evaluation found."""

    run: RunDirectory
    metrics: dict[str, dict[str, float]]
    """By ranker: model, co-occurrence, popularity."""


@dataclass(frozen=True)
class Output:
    """Where a run goes and what to do with what is there."""

    path: Path
    overwrite: bool = False
    """Replace a run directory, and the state of a training that was cut off."""
    resume: bool = False
    """Go on with a training that was cut off; begin where there is none."""

    @property
    def folder(self) -> TrainingFolder:
        """The state of the training while it goes on."""
        return TrainingFolder.beside(self.path)

    def refuse_existing(self) -> None:
        """Raises RunDirectoryError where something is in the way and nobody says what to do with it."""
        refuse_existing(self.path, overwrite=self.overwrite)
        self.folder.refuse_existing(resume=self.resume, overwrite=self.overwrite)


def train_run(
    data: str | Path,
    config: Config,
    output: str | Path,
    *,
    overwrite: bool = False,
    resume: bool = False,
    init_from: str | Path | None = None,
    given: GivenFiles | None = None,
    items: str | Path | None = None,
    cluster: Cluster | None = None,
) -> TrainingResult:
    """Trains, evaluates and writes the run directory.

    While it trains its state is kept in a folder beside the output, see `training_folder`; `resume` goes on from there.
    `init_from` is an older run whose weights the training begins with, see `warm_start`; `given` names files whose sessions
    judge the model in place of those that [data] splits off; `items` is the items table; `cluster` fits and runs the
    workflow of the sessions.

    Raises NextItemTrainingError with a sentence where the data, the configuration or the output
    cannot be used. What can be refused is refused before the work begins.
    """
    place = Output(Path(output), overwrite, resume)
    place.refuse_existing()
    files = given or GivenFiles()
    config = as_imported(config, init_from) if init_from else config
    check(config, files)
    check_items(items, config.items)
    warm = WarmStart(init_from, config) if init_from else None
    frame, dtypes = read_interactions(data, config.data)
    table = read_items(items, config, dtypes[config.data.item_column])
    parts = files.read(config.data, dtypes, config.heads)
    split = split_interactions(frame, config.data, parts)
    return train_on(frame, split, dtypes, config, place, warm, cluster, parts, table)


def check(config: Config, given: GivenFiles | None = None) -> None:
    """Raises ConfigError, or DataError for a file that it names, where the configuration asks for what there is not.

    That is before the work begins.
    """
    (given or GivenFiles()).check(config)
    data = config.data
    check_sent(sent_columns(data))
    check_sent(config.items.attributes, "[items]")
    objective_for(config.model)
    check_combination(config.model.body, config.model.pretraining)
    check_training(config.training)
    read_pretrained(config)
    for name in config.data.time_features:
        workflow.TIME_FEATURES.get(name)


def train_on(
    frame: pd.DataFrame,
    split: Split,
    dtypes: dict[str, str],
    config: Config,
    output: Output,
    warm: WarmStart | None = None,
    cluster: Cluster | None = None,
    given: Given | None = None,
    items: ItemsTable | None = None,
) -> TrainingResult:
    """Trains on interactions that were read and split; otherwise as `train_run`.

    Args:
        frame, given: what was split, for telling whether a training that goes on has the same data.
        dtypes: the columns' pinned types, as `interactions.read_interactions` gives them.
        items: the items table, as `items.table.read_items` gives it.
    """
    began = time.monotonic()
    check_targets(frame, config.heads)
    logger.info(
        "%d interactions to train on%s; the model is judged by %s.",
        len(split.training),
        f", {len(split.validation)} for validation" if len(split.validation) else "",
        _judges(split, config.data, given),
    )
    weights = warm.run.path / run_directory.WEIGHTS if warm else None
    folder = output.folder
    begun = fingerprint(config, frame, weights, given, items.to_arrow() if items else None)
    with folder.opened(begun, resume=output.resume) as checkpoint:
        config, pretrained = read_pretrained(as_kept(config, items))
        encoded = fit_and_encode(split, dtypes, config, folder.storage, cluster)
        vocabulary = workflow.vocabulary(encoded.fitted.served, encoded.schema.item_column)
        coverage: dict[str, int] = {}
        fitted = FittedItems.fit(items, vocabulary.values, config.items, folder.storage / "items") if items else None
        if fitted:
            encoded = dataclasses.replace(encoded, schema=fitted.described(encoded.schema))
            coverage = fitted.coverage(vocabulary.values, added=config.items.cold_start)
            _tell_coverage(coverage)
        model = new_model(encoded.schema, config)
        prepare(model, encoded.training, vocabulary, config, pretrained)
        if fitted:
            fitted.fill(model, vocabulary.values)
        carried = _carry_over(warm, model, encoded, fitted) if warm else None
        validation = (
            Validation(encoded.validation, encoded.counts, config.data.exclude_seen) if encoded.validation else None
        )
        training = SharedTraining(
            config, encoded.schema, encoded.learnt, folder, checkpoint, validated=validation is not None
        )
        model = train_with_workers(training, model, validation)
        if fitted and config.items.cold_start:
            storage = folder.storage / "extended"
            model, encoded = with_unclicked(
                model, encoded, fitted, config, split.held_out, storage, cluster, pretrained
            )
        metrics = _evaluate(model, encoded, config.data)
        warning = baseline_warning(metrics, config.training.metric)
        if warning:
            logger.warning(warning)
        heads = evaluate_heads(model, config.heads, encoded.training, encoded.held_out)
        report = {
            "metrics": metrics,
            **({"warning": warning} if warning else {}),
            **({"heads": heads} if heads else {}),
            "held_out_sessions": int((encoded.held_out.lengths >= 2).sum()),
            **({"cutoff": str(split.cutoff)} if split.cutoff is not None else {}),
            "seconds": round(time.monotonic() - began, 1),
            "training": _course(folder),
            **({"init_from": dataclasses.asdict(carried)} if carried else {}),
            **({"items": coverage} if coverage else {}),
        }
        _write(output, folder, config, encoded, model, split, report, fitted)
        folder.remove()
    return TrainingResult(RunDirectory.open(output.path), metrics)


def _tell_coverage(coverage: Mapping[str, int]) -> None:
    clicked, without = coverage["clicked"], coverage["clicked_without_row"]
    logger.info("%d of %d items that training clicked have a row in the items table.", clicked, clicked + without)
    if coverage["added"]:
        logger.info("%d items that nobody clicked are added after training.", coverage["added"])
    elif coverage["rows"] > clicked:
        logger.info(
            "%d items that nobody clicked are left out; [items] cold_start = true adds them.",
            coverage["rows"] - clicked,
        )


def _judges(split: Split, data: DataConfig, given: Given | None) -> str:
    """What is held out, for the log."""
    if given and given.held_out is not None:
        return f"the {len(split.held_out)} of {TEST_OPTION}"
    if split.cutoff is not None:
        return f"{len(split.held_out)} after {split.cutoff}"
    return f"the last of each of {split.held_out[data.session_column].nunique()} sessions"


def _write(
    output: Output,
    folder: TrainingFolder,
    config: Config,
    encoded: Encoded,
    model: SessionModel,
    split: Split,
    report: Mapping[str, Any],
    items: FittedItems | None,
) -> None:
    with new_run_directory(output.path, overwrite=output.overwrite) as building:
        run_directory.write(
            building,
            config=config,
            schema=encoded.schema,
            model=model,
            save_workflow=partial(workflow.save, encoded.fitted.served),
            sample=sample_sessions(split, config.data, config.training.seed),
            metrics=report,
            items=items.table.to_arrow() if items else None,
            save_items_workflow=partial(workflow.save, items.workflow) if items and items.workflow else None,
        )
        shutil.copy(folder.log, building / folder.log.name)
        draw(read_log(folder.log), building, config.training.metric)


def _carry_over(warm: WarmStart, model: SessionModel, encoded: Encoded, items: FittedItems | None) -> CarriedOver:
    items_workflow = items.workflow if items else None
    carried = warm.carry_over(model, encoded.schema, encoded.fitted.served, encoded.training, items_workflow)
    logger.info(
        "Of %d items %d start as they were in %s, %d from the mean of their group; %d are gone.",
        carried.items,
        carried.carried,
        warm.run.path,
        carried.from_group,
        carried.gone,
    )
    return carried


def _course(folder: TrainingFolder) -> dict[str, Any]:
    """How far the training came and which epoch's weights are the run's."""
    lines = read_log(folder.log)
    last = lines[-1]
    course: dict[str, Any] = {"epochs": round(last["epoch"]), "steps": last["step"]}
    best = best_step(folder)
    for line in lines:
        if "validation" in line and line["step"] == best:
            course |= {"best_epoch": round(line["epoch"]), "validation": line["validation"]}
    return course


def _evaluate(model: SessionModel, encoded: Encoded, data: DataConfig) -> dict[str, dict[str, float]]:
    """The model and the two baselines on the same held-out sessions."""
    counts, item = encoded.counts, encoded.schema.item_feature
    questions = last_of_each(encoded.held_out, item, exclude_seen=data.exclude_seen)
    logger.info("Ranking %d items for each of %d held-out sessions.", len(counts), len(questions))
    ranks = {
        MODEL: model_ranks(model, encoded.held_out.features, counts, questions, progress="evaluation"),
        CO_OCCURRENCE: cooccurrence_ranks(encoded.training, item, counts, questions),
        POPULARITY: popularity_ranks(counts, questions),
    }
    return {name: metrics_of(found) for name, found in ranks.items()}
