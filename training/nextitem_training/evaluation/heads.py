"""Offline evaluation of the output heads, on the last interaction of each held-out session."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import torch

from nextitem_training.config.heads import BINARY, REGRESSION, HeadConfig
from nextitem_training.config.registry import Registry
from nextitem_training.data.sessions import EncodedSessions, pad
from nextitem_training.model import SessionModel
from nextitem_training.special_ids import FIRST_KNOWN

_BATCH = 512
# Probabilities are clipped to it, since the log loss of a wrong 0 or 1 is infinite.
_LEAST = 1e-7

Measures = dict[str, float | None]
"""Values by the measure's name. None if there are no sessions to compute it from, as JSON has no NaN."""


def evaluate_heads(
    model: SessionModel, heads: Sequence[HeadConfig], training: EncodedSessions, held_out: EncodedSessions
) -> dict[str, Measures]:
    """Compares each head with its column at the last interaction of held-out sessions, given those before it.

    Sessions are left out if they have one interaction, if no item of the input is known (the model predicts nothing then), or
    if the column is null.

    Args:
        model: in evaluation mode.
        heads: the model's output heads.
        training: whole sessions of the training part, with the heads' columns.
        held_out: whole held-out sessions, with the heads' columns.

    Returns:
        Measures by head, see `binary_measures` and `regression_measures`, and `sessions`, the number of sessions evaluated.
    """
    if not heads:
        return {}
    chosen, predicted = _predictions(model, held_out)
    last = held_out.offsets[chosen + 1] - 1
    results = {}
    for head in heads:
        targets = held_out.features[head.column][last]
        valid = ~np.isnan(targets)
        learnt = training.features[head.column]
        measured = MEASURES.get(head.kind)(predicted[head.name][valid], targets[valid], learnt[~np.isnan(learnt)])
        results[head.name] = {**measured, "sessions": int(valid.sum())}
    return results


@torch.inference_mode()
def _predictions(model: SessionModel, held_out: EncodedSessions) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """The sessions with a prediction, int64 [N], and the predictions by head, float64 [N]."""
    features = {name: held_out.features[name] for name in model.feature_names}
    device = next(model.parameters()).device
    chosen = np.flatnonzero(held_out.lengths >= 2)
    answered = []
    parts: dict[str, list[np.ndarray]] = {name: [] for name in model.head_widths}
    for batch in np.array_split(chosen, max(1, -(-len(chosen) // _BATCH))):
        lengths = held_out.lengths[batch] - 1
        kept = np.minimum(lengths, model.window)
        padded = pad(features, held_out.offsets[batch] + lengths - kept, kept)
        known = (padded[model.item_feature] >= FIRST_KNOWN).any(axis=1)
        _, heads = model.query_and_heads({name: torch.from_numpy(v).to(device) for name, v in padded.items()})
        answered.append(batch[known])
        for name, values in heads.items():
            parts[name].append(values[:, 0].double().cpu().numpy()[known])
    return np.concatenate(answered), {name: np.concatenate(values) for name, values in parts.items()}


MEASURES: Registry[Callable[[np.ndarray, np.ndarray, np.ndarray], Measures]] = Registry("kind of head")
"""(predicted, targets, values in training) → measures, by kind of head."""


@MEASURES.register(BINARY)
def binary_measures(predicted: np.ndarray, targets: np.ndarray, training: np.ndarray) -> Measures:
    """`auc`, `log_loss` and `positives`, the share of positives. In the AUC, ties count half.

    Args:
        predicted: float64 [N], probabilities.
        targets: [N], 0 or 1.
        training: the column's values in training, not used.
    """
    positive = targets == 1
    count, others = int(positive.sum()), int((~positive).sum())
    measures: Measures = {"auc": None, "log_loss": None, "positives": None}
    if count and others:
        ranks = pd.Series(predicted).rank().to_numpy()
        measures["auc"] = float((ranks[positive].sum() - count * (count + 1) / 2) / (count * others))
    if len(targets):
        chance = np.clip(np.where(positive, predicted, 1 - predicted), _LEAST, 1)
        measures["log_loss"] = float(-np.log(chance).mean())
        measures["positives"] = float(positive.mean())
    return measures


@MEASURES.register(REGRESSION)
def regression_measures(predicted: np.ndarray, targets: np.ndarray, training: np.ndarray) -> Measures:
    """`rmse`, the root mean squared error, and `rmse_of_training_mean`, that of always predicting the mean in training.

    Args:
        predicted: float64 [N].
        targets: float32 [N].
        training: the column's values in training.
    """
    if not len(targets):
        return {"rmse": None, "rmse_of_training_mean": None}
    mean = training.astype(np.float64).mean()
    return {
        "rmse": float(np.sqrt(np.square(predicted - targets).mean())),
        "rmse_of_training_mean": float(np.sqrt(np.square(mean - targets.astype(np.float64)).mean())),
    }
