"""Offline evaluation over the whole catalogue, of the model and of two baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch

from nextitem_training.codes import FIRST_KNOWN
from nextitem_training.config.training import CUTOFFS
from nextitem_training.model import SessionModel
from nextitem_training.sessions import EncodedSessions, pad

Scorer = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""(starts, lengths) int64 [B] of the inputs → float [B, V - 3], the scores of codes 3, 4, …"""

_BATCH = 512


def evaluate(sessions: EncodedSessions, item_feature: str, scorer: Scorer) -> dict[str, float]:
    """Ranks each session's last interaction among all items, given those before it.

    Sessions of one interaction have no input and are left out. An item that training did not
    know cannot be recommended and counts as missed. Equal scores are ranked by code.

    Returns:
        recall@k, ndcg@k and mrr@k for k in CUTOFFS, with one target per session.
    """
    items = sessions.features[item_feature]
    chosen = np.flatnonzero(sessions.lengths >= 2)
    ranks = []
    for batch in np.array_split(chosen, max(1, -(-len(chosen) // _BATCH))):
        starts = sessions.offsets[batch]
        targets = items[sessions.offsets[batch + 1] - 1]
        scores = scorer(starts, sessions.lengths[batch] - 1)
        ranks.append(_ranks(scores, targets - FIRST_KNOWN))
    return _metrics(np.concatenate(ranks))


def _ranks(scores: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Rank of each target, from 1; infinite where the target is below 0, that is unknown."""
    columns = np.maximum(targets, 0)[:, None]
    own = np.take_along_axis(scores, columns, axis=1)
    earlier = np.arange(scores.shape[1])[None, :] < columns
    ranks = 1.0 + (scores > own).sum(1) + ((scores == own) & earlier).sum(1)
    return np.where(targets < 0, np.inf, ranks)


def _metrics(ranks: np.ndarray) -> dict[str, float]:
    metrics = {}
    for k in CUTOFFS:
        hit = ranks <= k
        metrics[f"recall@{k}"] = float(hit.mean())
        metrics[f"ndcg@{k}"] = float(np.where(hit, 1 / np.log2(1 + ranks), 0).mean())
        metrics[f"mrr@{k}"] = float(np.where(hit, 1 / ranks, 0).mean())
    return metrics


def model_scorer(model: SessionModel, features: Mapping[str, np.ndarray], counts: np.ndarray) -> Scorer:
    """The model as it is served: newest `window` interactions, popularity where none is known.

    Args:
        model: in evaluation mode, on any device.
        features: ragged features of the sessions to be scored, to which `starts` points.
        counts: int64 [V - 3], popularity.
    """

    device = next(model.parameters()).device

    @torch.inference_mode()
    def score(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        kept = np.minimum(lengths, model.window)
        padded = pad({name: features[name] for name in model.feature_names}, starts + lengths - kept, kept)
        tensors = {name: torch.from_numpy(values).to(device) for name, values in padded.items()}
        known = (padded[model.item_feature] >= FIRST_KNOWN).any(axis=1)
        return np.where(known[:, None], model(tensors)[:, FIRST_KNOWN:].cpu().numpy(), counts)

    return score


def popularity_scorer(counts: np.ndarray) -> Scorer:
    """The same answer for all: how often an item occurs in training. counts: int64 [V - 3]."""
    return lambda starts, lengths: np.broadcast_to(counts, (len(starts), len(counts)))


def cooccurrence_scorer(training: EncodedSessions, item_feature: str, counts: np.ndarray, items: np.ndarray) -> Scorer:
    """How often an item followed the input's last one in training; popularity breaks ties.

    Args:
        training: whole training sessions.
        item_feature: the feature that holds the item codes.
        counts: int64 [V - 3], popularity.
        items: int64, the codes of the sessions to be scored, to which `starts` points.
    """
    codes = training.features[item_feature]
    inside = np.ones(len(codes), dtype=bool)
    inside[training.offsets[1:] - 1] = False  # a session's last item is followed by no other
    position = np.flatnonzero(inside)
    known = (codes[position] >= FIRST_KNOWN) & (codes[position + 1] >= FIRST_KNOWN)
    pairs = np.stack([codes[position[known]], codes[position[known] + 1]]) - FIRST_KNOWN
    order = np.argsort(pairs[0], kind="stable")
    first, second = pairs[:, order]
    bounds = np.searchsorted(first, np.arange(len(counts) + 1))
    share = counts / (counts.sum() + 1)  # below 1, the least difference of two pair counts

    def score(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        scores = np.tile(share, (len(starts), 1))
        for row, last in enumerate(items[starts + lengths - 1] - FIRST_KNOWN):
            if last >= 0:
                followers = second[bounds[last] : bounds[last + 1]]
                scores[row] += np.bincount(followers, minlength=len(counts))
        return scores

    return score


def as_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """One line per ranker, one column per metric, for the terminal."""
    columns: Sequence[str] = list(next(iter(results.values())))
    width = max(len(name) for name in results)
    lines = [" " * width + "".join(f"{column:>11}" for column in columns)]
    for name, metrics in results.items():
        lines.append(f"{name:<{width}}" + "".join(f"{metrics[c]:>11.4f}" for c in columns))
    return "\n".join(lines)
