"""Splits interactions into what is learnt from and what the model is judged by."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import pandas as pd

from nextitem_training.config import DataConfig
from nextitem_training.config.data import LAST_INTERACTION
from nextitem_training.errors import DataError

_USERS = f"where a session is all that a user does, set holdout = '{LAST_INTERACTION}'"


@dataclass(frozen=True)
class Given:
    """Whole sessions that come from files of their own and are not split off."""

    validation: pd.DataFrame | None = None
    """In place of what [data] would keep for validation."""
    held_out: pd.DataFrame | None = None
    """In place of what [data] would hold out."""


@dataclass(frozen=True)
class Split:
    """Interactions for training, validation and evaluation, as rows in the data's order.

    Validation and evaluation ask for each session's last interaction, given those before it. Where [data] holdout is
    'last-interaction' their sessions begin with what training sees of them; otherwise no session is in two parts.
    """

    training: pd.DataFrame
    validation: pd.DataFrame
    """Without rows where nothing is kept for it."""
    held_out: pd.DataFrame
    cutoff: pd.Timestamp | None = None
    """After which sessions are held out; None where they are not held out by time."""
    since: pd.Timestamp | None = None
    """Where a training goes on from an earlier one: only sessions with an interaction after this are learnt from."""


def split_interactions(frame: pd.DataFrame, data: DataConfig, given: Given | None = None) -> Split:
    """Splits as [data] holdout says; what is given is not split off. Raises DataError where a part would be of no use."""
    given = given or Given()
    if data.holdout == LAST_INTERACTION:
        return _by_last_interaction(frame, data, given)
    cutoff = None if given.held_out is not None else _newest(frame, data) - duration(data.holdout_days)
    return split_at(frame, cutoff, data, given=given)


def split_at(
    frame: pd.DataFrame,
    cutoff: pd.Timestamp | None,
    data: DataConfig,
    since: pd.Timestamp | None = None,
    given: Given | None = None,
) -> Split:
    """Holds out the sessions that start after `cutoff`; None where `given` has them.

    What a training session does after the cutoff is left out, so that training sees no event
    from the time of the evaluation. Of the rest the last `validation_days` are split off in the
    same way. Raises DataError where a part would be of no use.
    """
    given = given or Given()
    training, held_out = (frame, given.held_out) if cutoff is None else _before_and_after(frame, cutoff, data)
    assert held_out is not None, "without a cutoff the held-out sessions are given"
    validation = frame.iloc[:0] if given.validation is None else given.validation
    if data.validation_days:
        end = _newest(frame, data) if cutoff is None else cutoff
        training, validation = _before_and_after(training, end - duration(data.validation_days), data)
    split = Split(training, validation, held_out, cutoff, since)
    advice = _days(frame, cutoff, data)
    by_days = cutoff is not None or data.validation_days
    remedy = f"hold out fewer days, or {_USERS}" if by_days else "give longer sessions"
    _check_training(split, data, f"{advice}; {remedy}.")
    if data.validation_days and not _has_session_of(validation, data, 2):
        raise DataError(f"No session of two interactions is left for validation. {advice}; keep more days for it.")
    if cutoff is not None and not _has_session_of(held_out, data, 2):
        raise DataError(
            f"No session of two interactions is held out for evaluation. {advice}. {_what_would_help(frame, data)}"
        )
    return split


def duration(days: float) -> pd.Timedelta:
    """`days` as a Timedelta: pandas' types add NaT, which no number of days is."""
    return cast("pd.Timedelta", pd.Timedelta(days=days))


def _by_last_interaction(frame: pd.DataFrame, data: DataConfig, given: Given) -> Split:
    """Leave-one-out: the newest interaction is for evaluation, the newest of the rest for validation."""
    training, held_out = (frame, given.held_out) if given.held_out is not None else _without_last(frame, data)
    validation = frame.iloc[:0] if given.validation is None else given.validation
    if data.validation_interaction:
        training, validation = _without_last(training, data)
    wanted = int(given.held_out is None) + int(data.validation_interaction)
    told = f"The longest session of the data has {_longest(frame, data)}, and [data] holdout = '{LAST_INTERACTION}'"
    if not len(held_out) or (data.validation_interaction and not len(validation)):
        raise DataError(
            f"No session is long enough to be judged by. {told} needs {wanted} and one before; [data] session_column is "
            f"'{data.session_column}': give the column that tells users or sessions apart, or more data."
        )
    split = Split(training, validation, held_out)
    remedy = (
        "lower min_session_length or give longer sessions" if data.min_session_length > 2 else "give longer sessions"
    )
    _check_training(split, data, f"{told} keeps {wanted} of each from it; {remedy}.")
    return split


def _without_last(frame: pd.DataFrame, data: DataConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The rows without each session's last, by time and then by row, and the sessions that have lost it, whole.

    Sessions of one interaction, which would have no input, stay as they are and are among the former alone.
    """
    session = pd.factorize(frame[data.session_column])[0]
    order = np.lexsort((frame[data.time_column].to_numpy(), session))  # stable
    ends = np.flatnonzero(np.diff(session[order], append=-1))
    last = np.zeros(len(frame), dtype=bool)
    last[order[ends]] = True
    several = np.bincount(session)[session] >= 2
    return frame.loc[~(last & several)].reset_index(drop=True), frame.loc[several].reset_index(drop=True)


def _check_training(split: Split, data: DataConfig, advice: str) -> None:
    """Raises DataError where nothing could be learnt, of a column or at all."""
    lengths = split.training.groupby(data.session_column).size()
    learnt = is_learnt_from(split, lengths.index.to_numpy(), data)
    if not (learnt & (lengths >= data.min_session_length)).any():
        raise DataError(f"No session of {data.min_session_length} interactions is left for training. {advice}")
    for name in (data.item_column, *data.categorical, *data.continuous, *data.log_continuous, *data.targets):
        if split.training[name].isna().to_numpy().all():
            raise DataError(
                f"Column '{name}' holds no value in the {len(split.training)} interactions of the training part, only in later "
                "ones: there is nothing to learn of it. Leave it out of [data], or hold out less."
            )
    often: Any = split.training[data.item_column].value_counts().max() if data.min_item_count > 1 else 1
    if not often >= data.min_item_count:
        raise DataError(
            f"No item has the {data.min_item_count} interactions in training that [data] min_item_count asks for; the most "
            f"frequent one has {often}. Lower it or give more data."
        )


def is_learnt_from(split: Split, session_ids: np.ndarray, data: DataConfig) -> np.ndarray:
    """Which training sessions are learnt from: bool [B], True throughout where `since` is None."""
    if split.since is None:
        return np.ones(len(session_ids), dtype=bool)
    last = split.training.groupby(data.session_column)[data.time_column].max()
    return (last.loc[session_ids] > split.since).to_numpy()


def sample_sessions(split: Split, data: DataConfig, seed: int) -> pd.DataFrame:
    """Picks held-out sessions of all kinds of length, whole, as raw rows in the data's order, without the heads' targets.

    A fifth each is kept for sessions of one interaction and for those longer than the window, which a plain draw may miss.
    Where sessions of one interaction are never held out, those of training are drawn from.
    """
    pool = split.held_out
    if data.holdout == LAST_INTERACTION:
        alone = ~split.training[data.session_column].duplicated(keep=False)
        alone &= ~split.training[data.session_column].isin(pool[data.session_column])
        pool = pd.concat([pool, split.training.loc[alone]], ignore_index=True)
    lengths = pool.groupby(data.session_column, sort=False).size()
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
    raw = pool.drop(columns=[*data.targets])
    return raw.loc[raw[data.session_column].isin(picked)].reset_index(drop=True)


def _before_and_after(frame: pd.DataFrame, cutoff: pd.Timestamp, data: DataConfig) -> tuple[pd.DataFrame, pd.DataFrame]:
    """The sessions that start up to the cutoff, cut there, and those that start after it."""
    time = frame[data.time_column]
    start: Any = time.groupby(frame[data.session_column]).transform("min")
    before = frame.loc[(start <= cutoff) & (time <= cutoff)].reset_index(drop=True)
    return before, frame.loc[start > cutoff].reset_index(drop=True)


def _days(frame: pd.DataFrame, cutoff: pd.Timestamp | None, data: DataConfig) -> str:
    """What the data spans and what of it is kept from training."""
    time = frame[data.time_column]
    span = f"spans {time.min():%Y-%m-%d %H:%M} to {time.max():%Y-%m-%d %H:%M}" if len(time) else "has no rows"
    kept = [f"holdout_days is {data.holdout_days:g}"] if cutoff is not None else []
    kept += [f"validation_days is {data.validation_days:g}"] if data.validation_days else []
    return f"The data {span}" + (f" and [data] {', '.join(kept)}" if kept else "")


def _what_would_help(frame: pd.DataFrame, data: DataConfig) -> str:
    """Where no session is held out: how many days would hold one out."""
    sessions: Any = frame.groupby(data.session_column)[data.time_column].agg(["min", "size"])
    starts = sessions["min"][sessions["size"] >= 2]
    if not len(starts):
        return "No session at all has two interactions: [data] session_column has to tell sessions apart, not rows."
    days = (_newest(frame, data) - starts.max()).total_seconds() / 86_400
    return f"The last of them starts {days:.1f} days before the end: hold out more than that, or, {_USERS}."


def _newest(frame: pd.DataFrame, data: DataConfig) -> pd.Timestamp:
    return cast("pd.Timestamp", frame[data.time_column].max())


def _longest(frame: pd.DataFrame, data: DataConfig) -> int:
    longest: Any = frame[data.session_column].value_counts().max()
    return int(longest)


def _has_session_of(frame: pd.DataFrame, data: DataConfig, length: int) -> bool:
    return bool((frame.groupby(data.session_column).size() >= length).any())
