"""One training run, from interactions to a run directory."""

from __future__ import annotations

import dataclasses
import logging
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from nextitem_training import run_directory, workflow
from nextitem_training.bodies import check_combination
from nextitem_training.config import Config
from nextitem_training.evaluation import (
    cooccurrence_scorer,
    evaluate,
    model_scorer,
    popularity_scorer,
)
from nextitem_training.head_evaluation import evaluate_heads
from nextitem_training.interactions import read_interactions
from nextitem_training.model import SessionModel
from nextitem_training.preparation import prepare
from nextitem_training.pretrained_items import read_pretrained
from nextitem_training.pretraining import approach_for
from nextitem_training.run_directory import RunDirectory, new_run_directory, refuse_existing
from nextitem_training.schema import SessionSchema
from nextitem_training.sessions import EncodedSessions
from nextitem_training.split import sample_sessions, split_by_time
from nextitem_training.targets import check_targets
from nextitem_training.trainer import check_schedule, new_model, train
from nextitem_training.warm_start import WarmStart

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingResult:
    """A finished run and what the evaluation found."""

    run: RunDirectory
    metrics: dict[str, dict[str, float]]
    """By ranker: model, co-occurrence, popularity."""


def train_run(
    data: str | Path,
    config: Config,
    output: str | Path,
    *,
    overwrite: bool = False,
    init_from: str | Path | None = None,
) -> TrainingResult:
    """Trains, evaluates and writes the run directory.

    `init_from` is an older run whose weights the training begins with, see `warm_start`.

    Raises NextItemTrainingError with a sentence where the data, the configuration or the output
    cannot be used. What can be refused is refused before the work begins.
    """
    refuse_existing(output, overwrite=overwrite)
    approach_for(config.model)
    check_combination(config.model.body, config.model.pretraining)
    check_schedule(config.training)
    for name in config.data.time_features:
        workflow.TIME_FEATURES.get(name)
    config, pretrained = read_pretrained(config)
    warm = WarmStart(init_from, config) if init_from else None
    began = time.monotonic()
    frame, dtypes = read_interactions(data, config.data)
    check_targets(frame, config.heads)
    split = split_by_time(frame, config.data)
    logger.info(
        "%d interactions to train on, %d held out after %s.",
        len(split.training),
        len(split.held_out),
        split.cutoff,
    )
    with (
        tempfile.TemporaryDirectory() as storage,
        new_run_directory(output, overwrite=overwrite) as folder,
    ):
        fitted = workflow.fit(split.training, config.data, storage)
        schema = workflow.describe(fitted.served, config.data, dtypes, config.heads)
        training = workflow.encode(fitted.whole, split.training, schema, config.data.targets)
        held_out = workflow.encode(fitted.whole, split.held_out, schema, config.data.targets)
        logger.info("Features: %s.", ", ".join(schema.feature_names))
        model = new_model(schema, config)
        items = workflow.vocabulary(fitted.served, schema.item_column)
        prepare(model, training, items, config, pretrained)
        carried = warm.carry_over(model, schema, fitted.served, training) if warm else None
        if carried:
            logger.info(
                "Of %d items %d start as they were in %s, %d from the mean of their group; %d are gone.",
                carried.items,
                carried.carried,
                init_from,
                carried.from_group,
                carried.gone,
            )
        model = train(model, training, config)
        metrics = _evaluate(model, training, held_out, schema, items.counts)
        heads = evaluate_heads(model, config.heads, training, held_out)
        for name, measures in heads.items():
            logger.info("Head %s: %s.", name, ", ".join(f"{key} {value}" for key, value in measures.items()))
        run_directory.write(
            folder,
            config=config,
            schema=schema,
            model=model,
            save_workflow=partial(workflow.save, fitted.served),
            sample=sample_sessions(split.held_out, config.data, config.training.seed),
            metrics={
                "metrics": metrics,
                **({"heads": heads} if heads else {}),
                "held_out_sessions": int((held_out.lengths >= 2).sum()),
                "cutoff": str(split.cutoff),
                "seconds": round(time.monotonic() - began, 1),
                **({"init_from": dataclasses.asdict(carried)} if carried else {}),
            },
        )
    return TrainingResult(RunDirectory.open(output), metrics)


def _evaluate(
    model: SessionModel,
    training: EncodedSessions,
    held_out: EncodedSessions,
    schema: SessionSchema,
    counts: np.ndarray,
) -> dict[str, dict[str, float]]:
    """The model and the two baselines on the same held-out sessions."""
    item = schema.item_feature
    scorers = {
        "model": model_scorer(model, held_out.features, counts),
        "co-occurrence": cooccurrence_scorer(training, item, counts, held_out.features[item]),
        "popularity": popularity_scorer(counts),
    }
    return {name: evaluate(held_out, item, scorer) for name, scorer in scorers.items()}
