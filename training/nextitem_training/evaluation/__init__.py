"""Offline evaluation over the whole catalogue: evaluation questions, ranks and metrics."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from tqdm import tqdm

from nextitem_bundle.commands import hides_progress
from nextitem_training.config.training import CUTOFFS
from nextitem_training.data.sessions import EncodedSessions, pad
from nextitem_training.errors import DivergenceError
from nextitem_training.evaluation.finite import is_finite
from nextitem_training.model import SessionModel
from nextitem_training.special_ids import FIRST_KNOWN

SCORE_BYTES = 64 << 20
"""Upper bound, in bytes, of the scores held at once, whatever the catalogue. At least one session's scores are held."""
_MOST_SESSIONS = 512


@dataclass(frozen=True)
class Questions:
    """N evaluation questions: which item follows the interactions [start, start + length) of a session?"""

    items: np.ndarray
    """int64 [number of interactions], the item codes of all sessions, concatenated."""
    starts: np.ndarray
    """int64 [N], the index in `items` of each input's first interaction."""
    lengths: np.ndarray
    """int64 [N], the interactions of each input, at least 1. The target follows them."""
    exclude_seen: bool = False
    """Do not rank the items of the input, those before the window included."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def targets(self) -> np.ndarray:
        """int64 [N]: the targets as indices in [V - 3], below 0 for an item that training did not know."""
        return self.items[self.starts + self.lengths] - FIRST_KNOWN

    def seen(self, question: int) -> np.ndarray:
        """int64: indices in [V - 3] of the known items of the input, which are not ranked. An item may occur twice.

        Empty without `exclude_seen`.
        """
        if not self.exclude_seen:
            return np.empty(0, np.int64)
        start = self.starts[question]
        places = self.items[start : start + self.lengths[question]] - FIRST_KNOWN
        return places[places >= 0]


def last_of_each(sessions: EncodedSessions, item_feature: str, *, exclude_seen: bool = False) -> Questions:
    """The question for each session's last interaction, given those before it. Sessions of one interaction are left out.

    Args:
        sessions: whole sessions.
        item_feature: the feature that holds the item codes.
        exclude_seen: as in `Questions`.
    """
    chosen = np.flatnonzero(sessions.lengths >= 2)
    return Questions(
        sessions.features[item_feature], sessions.offsets[chosen], sessions.lengths[chosen] - 1, exclude_seen
    )


def model_ranks(
    model: SessionModel,
    features: Mapping[str, np.ndarray],
    counts: np.ndarray,
    questions: Questions,
    *,
    progress: str = "",
) -> np.ndarray:
    """Ranks float64 [N] by the model as it is served: newest `window` interactions, popularity if no item is known.

    Scores are computed in blocks of at most SCORE_BYTES, and each block is freed once its targets are ranked. Raises
    DivergenceError if a score is NaN or infinite.

    Args:
        model: in evaluation mode, on any device.
        features: ragged features of the sessions; `questions` index into them.
        counts: int64 [V - 3], how often each item occurs in training.
        questions: the sessions and their targets.
        progress: label of the progress bar on stderr. No bar if this is empty or stderr is no terminal.
    """
    size = max(1, min(_MOST_SESSIONS, SCORE_BYTES // (4 * max(1, len(counts)))))
    ranks, targets = np.empty(len(questions)), questions.targets
    # By length, because a block is padded to its longest session.
    order = np.argsort(np.minimum(questions.lengths, model.window), kind="stable")
    bar = tqdm(total=len(order), desc=progress, unit="session", disable=_hides_bar(progress), leave=False)
    with torch.inference_mode(), bar:
        table = model.item_table()[FIRST_KNOWN:].T  # once: normalising it is slow
        for start in range(0, len(order), size):
            block = order[start : start + size]
            scores = _scores(model, table, features, counts, questions.starts[block], questions.lengths[block])
            for row, question in enumerate(block if questions.exclude_seen else ()):
                scores[row, questions.seen(question)] = -np.inf
            ranks[block] = ranks_of(scores, targets[block])
            bar.update(len(block))
    return ranks


def _hides_bar(progress: str) -> bool | None:
    """What tqdm takes as `disable`: None shows the bar if stderr is a terminal."""
    return True if not progress or hides_progress("nextitem_training") else None


def _scores(
    model: SessionModel,
    table: torch.Tensor,
    features: Mapping[str, np.ndarray],
    counts: np.ndarray,
    starts: np.ndarray,
    lengths: np.ndarray,
) -> np.ndarray:
    """float32 [B, V - 3] of the sessions' inputs; `table` float32 [D, V - 3].

    Raises DivergenceError if a score is NaN or infinite, which finite but very large weights can cause.
    """
    kept = np.minimum(lengths, model.window)
    padded = pad({name: features[name] for name in model.feature_names}, starts + lengths - kept, kept)
    query = model.query({name: torch.from_numpy(values).to(table.device) for name, values in padded.items()})
    products = query @ table
    if not is_finite(products):
        raise DivergenceError(
            "The model's scores on held-out sessions are NaN or infinite: its weights have grown too large for "
            "float32. Lower [training] learning_rate, or raise weight_decay."
        )
    scores = products.cpu().numpy()
    # Counts that are equal as float32 keep their order: ties are ranked by code, and codes are by frequency.
    scores[~(padded[model.item_feature] >= FIRST_KNOWN).any(axis=1)] = counts
    return scores


def ranks_of(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Each target's rank, from 1: float64 [B]. Equal scores are ranked by code; NaN ranks above every number.

    The rank is infinite, a miss, if the target is unknown, is excluded (score -inf) or has the score NaN.

    Args:
        scores: float32 [B, V - 3].
        targets: int64 [B], columns of `scores`; below 0 for an unknown item.
    """
    ranks = np.full(len(targets), np.inf)
    # Row by row, because one session's scores fit the processor's cache.
    for place, (row, target) in enumerate(zip(scores, targets.tolist(), strict=True)):
        if target >= 0 and row[target] > -np.inf:
            behind = np.count_nonzero(row < row[target]) + np.count_nonzero(row[target:] == row[target])
            ranks[place] = 1 + len(row) - behind
    return ranks


def metrics_of(ranks: np.ndarray) -> dict[str, float]:
    """recall@k, ndcg@k and mrr@k, for each k in CUTOFFS, of ranks float64 [N] from 1 with one target each."""
    metrics = {}
    for k in CUTOFFS:
        hit = ranks <= k
        metrics[f"recall@{k}"] = float(hit.mean())
        metrics[f"ndcg@{k}"] = float(np.where(hit, 1 / np.log2(1 + ranks), 0).mean())
        metrics[f"mrr@{k}"] = float(np.where(hit, 1 / ranks, 0).mean())
    return metrics


def as_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """A table for the terminal: one line per ranker, one column per metric. results: metrics by ranker."""
    columns: Sequence[str] = list(next(iter(results.values())))
    width = max(len(name) for name in results)
    lines = [" " * width + "".join(f"{column:>11}" for column in columns)]
    for name, metrics in results.items():
        lines.append(f"{name:<{width}}" + "".join(f"{metrics[c]:>11.4f}" for c in columns))
    return "\n".join(lines)
