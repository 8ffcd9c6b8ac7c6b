"""What a trained run answers, through the offline predictor: the reference for what a server answers, too."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from rich.progress import track

from benchmarks.accuracy.ranks import ranks_of
from benchmarks.accuracy.sessions import SESSION, Questions
from nextitem_training.offline import OfflinePredictor
from nextitem_training.run_directory import RunDirectory
from nextitem_training.special_ids import FIRST_KNOWN

#: Questions of one pass: their scores of 43,000 items are 90 MB.
_BATCH = 512


def model_ranks(run: Path, questions: Questions, *, threads: int = 2) -> np.ndarray:
    """The rank of each answer [E] among the whole catalogue, from 1; infinite where the model's vocabulary lacks it.

    The model reads the newest `window` interactions of the input, as it does when it is served.
    """
    torch.set_num_threads(threads)
    opened = RunDirectory.open(run)
    predictor, window = OfflinePredictor(opened), opened.schema.window
    known = pd.Index(predictor.item_ids[FIRST_KNOWN:])
    targets = known.get_indexer(questions.targets)
    items = known.get_indexer(questions.rows[opened.schema.item_column])
    # Of like lengths, because a batch is padded to its longest.
    order = np.argsort(np.minimum(questions.lengths, window), kind="stable")
    ranks = np.empty(len(questions))
    batches = [order[start : start + _BATCH] for start in range(0, len(order), _BATCH)]
    for batch in track(batches, description=f"{len(questions):,} questions to {run.name}"):
        starts, lengths = questions.starts[batch], questions.lengths[batch]
        scores = predictor.scores(_inputs(questions.rows, starts, lengths, window)).scores[:, FIRST_KNOWN:]
        if questions.hides_seen:
            hide(scores, items, starts, lengths)
        ranks[batch] = ranks_of(scores, targets[batch])
    return ranks


def hide(scores: np.ndarray, items: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
    """Makes scores [B, V] of the inputs' items -inf; an input is [start, start + length) of `items`, codes or below 0."""
    for row, (start, length) in enumerate(zip(starts, lengths, strict=True)):
        seen = items[start : start + length]
        scores[row, seen[seen >= 0]] = -np.inf


def _inputs(rows: pd.DataFrame, starts: np.ndarray, lengths: np.ndarray, window: int) -> pd.DataFrame:
    """The newest `window` rows of each input, as sessions numbered in their order."""
    kept = np.minimum(lengths, window)
    number = np.repeat(np.arange(len(kept)), kept)
    step = np.arange(kept.sum()) - np.repeat(np.cumsum(kept) - kept, kept)
    chosen = rows.iloc[(starts + lengths - kept)[number] + step]
    return chosen.assign(**{SESSION: number})
