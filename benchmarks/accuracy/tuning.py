"""Chooses V-SkNN's options on questions of the validation part."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from benchmarks.accuracy.baselines import Catalogue, baseline_ranks
from benchmarks.accuracy.protocols import Stage
from benchmarks.accuracy.ranks import metrics_of
from benchmarks.accuracy.vsknn import SCORE_WEIGHTINGS, SIMILARITIES, WEIGHTINGS, Setting, VSkNN

#: Options that depend on one another are tried together, one group after the other.
GROUPS: Sequence[Mapping[str, Sequence[Any]]] = (
    {"sample_size": (500, 1000, 2500, 5000, 10_000), "k": (50, 100, 500, 1000, 1500)},
    {"weighting": tuple(WEIGHTINGS), "weighting_score": tuple(SCORE_WEIGHTINGS)},
    {"similarity": SIMILARITIES, "idf_weighting": (0.0, 1.0, 2.0, 5.0, 10.0)},
)
ROUNDS = 2
QUESTIONS = 10_000


def tune(
    stage: Stage, metric: str, *, questions: int = QUESTIONS, groups: Sequence[Mapping[str, Sequence[Any]]] = GROUPS
) -> tuple[Setting, list[dict[str, Any]]]:
    """The best setting by `metric` on a sample of the stage's questions, and every one that was tried with its metrics."""
    catalogue = Catalogue.of(stage.training)
    neighbours, asked = VSkNN(stage.training, catalogue), stage.questions.some(questions)
    measured: dict[Setting, dict[str, float]] = {}
    best = Setting()
    for group in itertools.chain.from_iterable(itertools.repeat(groups, ROUNDS)):
        for setting in (best, *around(best, group)):
            if setting not in measured:
                told = f"V-SkNN, setting {len(measured) + 1}"
                ranks = baseline_ranks(neighbours.scorer(setting), asked, catalogue, told)
                measured[setting] = metrics_of(ranks)
        best = max(measured, key=lambda setting: measured[setting][metric])
    return best, [{**dataclasses.asdict(setting), "validation": found} for setting, found in measured.items()]


def around(setting: Setting, group: Mapping[str, Sequence[Any]]) -> Iterator[Setting]:
    """The setting with every combination of a group's options; a k above the sample size is no other than the sample size."""
    for values in itertools.product(*group.values()):
        other = dataclasses.replace(setting, **dict(zip(group, values, strict=True)))
        if other.k <= other.sample_size:
            yield other
