"""Splits interactions by time: the model is judged on sessions that came after those it learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError


@dataclass(frozen=True)
class Split:
    """Interactions for training and those held out, as rows in the data's order."""

    training: pd.DataFrame
    held_out: pd.DataFrame
    cutoff: pd.Timestamp


def split_by_time(frame: pd.DataFrame, data: DataConfig) -> Split:
    """Holds out the sessions that start after `cutoff`, the newest time less `holdout_days`.

    What a training session does after the cutoff is left out, so that training sees no event
    from the time of the evaluation. Raises DataError where either part would be of no use.
    """
    time = frame[data.time_column]
    cutoff = time.max() - pd.Timedelta(days=data.holdout_days)
    start = time.groupby(frame[data.session_column]).transform("min")
    training = frame[(start <= cutoff) & (time <= cutoff)].reset_index(drop=True)
    held_out = frame[start > cutoff].reset_index(drop=True)
    advice = (
        f"The data spans {time.min():%Y-%m-%d %H:%M} to {time.max():%Y-%m-%d %H:%M} and [data] "
        f"holdout_days is {data.holdout_days:g}"
    )
    if not _has_session_of(training, data, data.min_session_length):
        raise DataError(
            f"No session of {data.min_session_length} interactions is left for training. {advice}; hold out fewer days."
        )
    if not _has_session_of(held_out, data, 2):
        raise DataError(f"No session of two interactions is held out for evaluation. {advice}; hold out more.")
    return Split(training, held_out, cutoff)


def sample_sessions(held_out: pd.DataFrame, data: DataConfig, seed: int) -> pd.DataFrame:
    """Picks held-out sessions of all kinds of length, as raw rows in the data's order, without targets.

    A fifth each is kept for sessions of one interaction and for those longer than the window,
    which a plain draw may miss.
    """
    lengths = held_out.groupby(data.session_column, sort=False).size()
    random = np.random.default_rng(seed)
    shuffled = lengths.iloc[random.permutation(len(lengths))]
    fifth = max(1, data.sample_sessions // 5)
    chosen = [
        shuffled[shuffled == 1].index[:fifth],
        shuffled[shuffled > data.window].index[:fifth],
    ]
    picked = chosen[0].append(chosen[1])
    rest = shuffled.index.difference(picked, sort=False)
    picked = picked.append(rest[: max(0, data.sample_sessions - len(picked))])
    raw = held_out.drop(columns=[*data.targets])
    return raw[raw[data.session_column].isin(picked)].reset_index(drop=True)


def _has_session_of(frame: pd.DataFrame, data: DataConfig, length: int) -> bool:
    return bool((frame.groupby(data.session_column).size() >= length).any())
