"""Encoded sessions, ragged, as numpy arrays: what the workflow makes and the model is fed with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nextitem_training.special_ids import PADDING


@dataclass(frozen=True)
class EncodedSessions:
    """B sessions one after another; session b is [offsets[b], offsets[b + 1]) of every feature."""

    session_ids: np.ndarray
    """[B], as the workflow's session column gives them."""
    offsets: np.ndarray
    """int64 [B + 1]."""
    features: Mapping[str, np.ndarray]
    """int64 codes or float32 values, [number of interactions], by feature name; targets of heads too where they were asked for,
    float32 with NaN for null."""

    def __len__(self) -> int:
        return len(self.session_ids)

    @property
    def lengths(self) -> np.ndarray:
        """int64 [B]."""
        return np.diff(self.offsets)


def pad(features: Mapping[str, np.ndarray], starts: np.ndarray, lengths: np.ndarray) -> dict[str, np.ndarray]:
    """Cuts segments out of ragged features and pads them on the right with 0: [B, T] by name.

    Args:
        features: arrays [number of interactions].
        starts: int64 [B], where each segment begins.
        lengths: int64 [B]; T is the longest, at least 1.
    """
    steps = np.arange(max(1, int(lengths.max(initial=0))))
    filled = steps < lengths[:, None]  # (B, T)
    positions = np.where(filled, starts[:, None] + steps, 0)
    padded = {}
    for name, values in features.items():
        if len(values):
            padded[name] = np.where(filled, values[positions], values.dtype.type(PADDING))
        else:
            padded[name] = np.zeros(filled.shape, values.dtype)
    return padded


def keep(sessions: EncodedSessions, kept: np.ndarray) -> EncodedSessions:
    """The sessions where `kept`, bool [B], is True."""
    lengths = sessions.lengths
    inside = np.repeat(kept, lengths)
    return EncodedSessions(
        session_ids=sessions.session_ids[kept],
        offsets=np.concatenate([[0], np.cumsum(lengths[kept])]).astype(np.int64),
        features={name: values[inside] for name, values in sessions.features.items()},
    )


def select(sessions: EncodedSessions, chosen: Sequence[int] | np.ndarray) -> dict[str, np.ndarray]:
    """The chosen sessions, padded: [B, T] by feature name."""
    chosen = np.asarray(chosen, dtype=np.int64)
    return pad(sessions.features, sessions.offsets[chosen], sessions.lengths[chosen])
