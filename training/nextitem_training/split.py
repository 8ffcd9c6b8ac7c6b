"""Splits interactions by time: the model is judged on sessions that came after those it learnt."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd

from nextitem_training.config import DataConfig
from nextitem_training.errors import DataError


@dataclass(frozen=True)
class Split:
    """Interactions for training, validation and evaluation, as rows in the data's order."""

    training: pd.DataFrame
    validation: pd.DataFrame
    """Without rows where [data] validation_days is 0."""
    held_out: pd.DataFrame
    cutoff: pd.Timestamp
    """After which sessions are held out."""
    since: pd.Timestamp | None = None
    """Where a training goes on from an earlier one: only sessions with an interaction after this are learnt from."""


def split_by_time(frame: pd.DataFrame, data: DataConfig) -> Split:
    """Holds out the sessions that start after `cutoff`, the newest time less `holdout_days`.

    What a training session does after the cutoff is left out, so that training sees no event
    from the time of the evaluation. Of the rest the last `validation_days` are split off in the
    same way. Raises DataError where a part would be of no use.
    """
    return split_at(frame, frame[data.time_column].max() - pd.Timedelta(days=data.holdout_days), data)


def split_at(frame: pd.DataFrame, cutoff: pd.Timestamp, data: DataConfig, since: pd.Timestamp | None = None) -> Split:
    """As `split_by_time`, with a cutoff that is given."""
    time = frame[data.time_column]
    earlier, held_out = _before_and_after(frame, cutoff, data)
    training, validation = earlier, earlier.iloc[:0]
    if data.validation_days:
        training, validation = _before_and_after(earlier, cutoff - pd.Timedelta(days=data.validation_days), data)
    span = f"spans {time.min():%Y-%m-%d %H:%M} to {time.max():%Y-%m-%d %H:%M}" if len(time) else "has no rows"
    advice = f"The data {span} and [data] holdout_days is {data.holdout_days:g}" + (
        f", validation_days {data.validation_days:g}" if data.validation_days else ""
    )
    split = Split(training, validation, held_out, cutoff, since)
    lengths = training.groupby(data.session_column).size()
    learnt = is_learnt_from(split, lengths.index.to_numpy(), data)
    if not (learnt & (lengths >= data.min_session_length)).any():
        raise DataError(
            f"No session of {data.min_session_length} interactions is left for training. {advice}; hold out fewer days."
        )
    if data.validation_days and not _has_session_of(validation, data, 2):
        raise DataError(f"No session of two interactions is left for validation. {advice}; keep more days for it.")
    if not _has_session_of(held_out, data, 2):
        raise DataError(f"No session of two interactions is held out for evaluation. {advice}; hold out more.")
    return split


def is_learnt_from(split: Split, session_ids: np.ndarray, data: DataConfig) -> np.ndarray:
    """Which training sessions are learnt from: bool [B], True throughout where `since` is None."""
    if split.since is None:
        return np.ones(len(session_ids), dtype=bool)
    last = split.training.groupby(data.session_column)[data.time_column].max()
    return (last.loc[session_ids] > split.since).to_numpy()


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


def _before_and_after(frame: pd.DataFrame, cutoff: pd.Timestamp, data: DataConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sessions that start up to the cutoff, cut there, and those that start after it."""
    time = frame[data.time_column]
    start = time.groupby(frame[data.session_column]).transform("min")
    before = frame[(start <= cutoff) & (time <= cutoff)].reset_index(drop=True)
    return before, frame[start > cutoff].reset_index(drop=True)


def _has_session_of(frame: pd.DataFrame, data: DataConfig, length: int) -> bool:
    return bool((frame.groupby(data.session_column).size() >= length).any())
