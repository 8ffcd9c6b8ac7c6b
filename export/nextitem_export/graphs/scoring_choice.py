"""What scores the catalogue: exactly, by an int8 scan, or through an index; and how many of the true items come then."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from .._errors import UnsupportedModel
from ..runtime.codes import FIRST_ITEM
from ..runtime.step import open_step
from .ranker import CODES, Ranker
from .scoring_ann import lists_for, write_ann
from .scoring_blocks import GROUP
from .scoring_model import INT8_GROUPS, write_exact, write_int8
from .scoring_session import SessionGraph

#: Items that recall is measured over.
RECALL_AT = 20
_TABLE_BLOCK = 65_536

#: Writes the ranker with some effort, 0 the least; returns what step.json says, None where no more effort can be made.
Attempt = Callable[[Ranker, SessionGraph, Sequence[str], Path, int, int], "dict[str, Any] | None"]


@dataclasses.dataclass(frozen=True)
class Scoring:
    """A way to score.

    attempt: writes it; effort and threads come last. min_recall: the least recall@20 by default, None for what is exact.
    """

    attempt: Attempt
    min_recall: float | None


def _exact(
    ranker: Ranker, session: SessionGraph, names: Sequence[str], folder: Path, effort: int, threads: int
) -> dict[str, Any] | None:
    return None if effort else write_exact(ranker, session, names, folder)


def _int8(
    ranker: Ranker, session: SessionGraph, names: Sequence[str], folder: Path, effort: int, threads: int
) -> dict[str, Any] | None:
    groups = max(INT8_GROUPS, ranker.k) * 2**effort
    if effort and groups // 2 * GROUP >= len(ranker.log_popularity):
        return None
    return write_int8(ranker, session, names, folder, groups)


def _ann(
    ranker: Ranker, session: SessionGraph, names: Sequence[str], folder: Path, effort: int, threads: int
) -> dict[str, Any] | None:
    probes = 16 * 2**effort
    if effort and probes // 2 >= lists_for(len(ranker.log_popularity) - FIRST_ITEM):
        return None
    return write_ann(ranker, session, names, folder, probes, threads)


SCORINGS: dict[str, Scoring] = {
    "exact": Scoring(_exact, None),
    "int8-rerank": Scoring(_int8, 0.999),
    "ann": Scoring(_ann, 0.99),
}


@dataclasses.dataclass(frozen=True)
class ScoringChoice:
    """One of SCORINGS by name, and the least recall@20, 0 for that scoring's default."""

    name: str = "exact"
    min_recall: float = 0.0


EXACT = ScoringChoice()


def write_scored(
    choice: ScoringChoice,
    ranker: Ranker,
    session: SessionGraph,
    names: Sequence[str],
    folder: Path,
    sample: Mapping[str, torch.Tensor],
    common: Mapping[str, Any],
) -> None:
    """Write the ranker and its step.json with as little effort as the asked recall takes.

    sample: the features of some sessions, by tensor. common: what step.json says of all formats.
    Raises UnsupportedModel where the model has no query or the recall is not reached.
    """
    scoring = SCORINGS[choice.name]
    if scoring.min_recall is not None and ranker.table() is None:
        raise UnsupportedModel(
            f"{type(ranker.model).__name__} gives scores itself, so --scoring {choice.name} has no table to search: give it "
            "query(features) and item_table(), or export with --scoring exact"
        )
    least = choice.min_recall or scoring.min_recall
    recall, effort = 0.0, 0
    while (found := scoring.attempt(ranker, session, names, folder, effort, common["threads"])) is not None:
        settings = {**common, "scoring": choice.name, **found}
        _write_settings(folder, settings)
        if scoring.min_recall is None or least is None:
            return
        recall = measured_recall(ranker, folder, names, sample)
        if recall >= least:
            _write_settings(folder, {**settings, "recall_at_20": round(recall, 6)})
            return
        effort += 1
    raise UnsupportedModel(
        f"--scoring {choice.name} finds {recall:.4f} of the true {RECALL_AT} best items of the sample's sessions, expected "
        f"{least} or more: choose --scoring exact, or a lower --min-recall"
    )


def _write_settings(folder: Path, settings: Mapping[str, Any]) -> None:
    (folder / "step.json").write_text(json.dumps(settings, indent=1), encoding="utf-8")


def measured_recall(ranker: Ranker, folder: Path, names: Sequence[str], sample: Mapping[str, torch.Tensor]) -> float:
    """The share of the true RECALL_AT best items that the written step gives, over the sessions that know an item."""
    features = dict(zip(ranker.names, sample.values(), strict=True))
    known = (features[ranker.item_feature] >= FIRST_ITEM).any(dim=1).numpy()
    if not known.any():
        return 1.0
    with torch.no_grad():
        queries = ranker.scorer.query({name: values[known] for name, values in features.items()}).numpy()
    table = ranker.table()
    assert table is not None
    true = true_best(queries, table.numpy(), min(RECALL_AT, ranker.k, len(table) - FIRST_ITEM))
    step = open_step(folder)
    nothing = np.zeros((1, 64), dtype=np.int64)
    given = [
        step.run(
            {
                **{name: values[row : row + 1].numpy() for name, values in sample.items()},
                **dict.fromkeys(names[len(sample) :][:2], nothing),
            }
        )[CODES][0]
        for row in np.flatnonzero(known)
    ]
    hits = [len(np.intersect1d(right, codes[: len(right)])) for right, codes in zip(true, given, strict=True)]
    return float(np.mean(hits) / true.shape[1])


def true_best(queries: np.ndarray, table: np.ndarray, k: int) -> np.ndarray:
    """The codes of the k best items of each query, int64 [S, k], best first: queries [S, D], table [V, D]."""
    codes, scores = (np.concatenate(parts, axis=1) for parts in zip(*_best_of_blocks(queries, table, k), strict=True))
    order = np.lexsort((codes, -scores), axis=1)[:, :k]
    return np.take_along_axis(codes, order, 1)


def _best_of_blocks(queries: np.ndarray, table: np.ndarray, k: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(FIRST_ITEM, len(table), _TABLE_BLOCK):
        scores = queries @ table[start : start + _TABLE_BLOCK].T
        best = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        yield start + best, np.take_along_axis(scores, best, 1)
