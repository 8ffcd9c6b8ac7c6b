"""Sessions as rows of interactions, what is asked of them, and files of them on which nextitem-train's split by time works."""

from __future__ import annotations

import lzma
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

SESSION, ITEM, TIME = "session_id", "item_id", "timestamp"

_EPOCH = 1_450_000_000
#: What nextitem-train holds out for its own figures: enough to see that all is well. Accuracy is measured outside of it.
_MOST_HELD_OUT = 2_000


@dataclass(frozen=True)
class Questions:
    """E questions: which item follows rows [starts, starts + lengths), whose answer is the row after them."""

    rows: pd.DataFrame
    """Interactions, those of a session one after another, with SESSION, ITEM, TIME and whatever else the model reads."""
    starts: np.ndarray
    """int64 [E]."""
    lengths: np.ndarray
    """int64 [E], at least 1."""
    hides_seen: bool = False
    """Items of the input are no answer: so some protocols have it."""

    def __len__(self) -> int:
        return len(self.starts)

    @property
    def targets(self) -> np.ndarray:
        """[E], raw ids."""
        return self.rows[ITEM].to_numpy()[self.starts + self.lengths]

    def some(self, count: int, seed: int = 0) -> Questions:
        """A sample of them, in their order; all where there are no more than `count`."""
        if count >= len(self):
            return self
        chosen = np.sort(np.random.default_rng(seed).choice(len(self), count, replace=False))
        return Questions(self.rows, self.starts[chosen], self.lengths[chosen], self.hides_seen)


def read_lines(path: Path) -> list[list[int]]:
    """Whole numbers, one list a line, from an .xz file."""
    return [[int(number) for number in line.split()] for line in lzma.decompress(path.read_bytes()).splitlines()]


def as_rows(sessions: Sequence[Sequence[int]]) -> pd.DataFrame:
    """One row per interaction, sessions numbered from 0, each beginning after the one before has ended: SESSION, ITEM, TIME."""
    lengths = np.array([len(session) for session in sessions], dtype=np.int64)
    number = np.repeat(np.arange(len(lengths)), lengths)
    step = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    seconds = _EPOCH + number * _spacing(lengths) + step
    return pd.DataFrame(
        {
            SESSION: number,
            ITEM: np.concatenate([np.asarray(session, dtype=np.int64) for session in sessions]),
            TIME: pd.to_datetime(seconds, unit="s").astype("datetime64[ns]"),
        }
    )


def every_prefix(rows: pd.DataFrame) -> Questions:
    """Each interaction but a session's first is asked for, given those before it."""
    starts, lengths = _bounds(rows)
    step = np.arange(len(rows)) - np.repeat(starts, lengths)
    asked = np.flatnonzero(step > 0)
    return Questions(rows, asked - step[asked], step[asked])


def last_of_each(rows: pd.DataFrame, *, hides_seen: bool = False) -> Questions:
    """Each session's last interaction is asked for, given all before it; sessions of one are left out."""
    starts, lengths = _bounds(rows)
    asked = lengths >= 2
    return Questions(rows, starts[asked], lengths[asked] - 1, hides_seen)


def arranged(
    training: Sequence[Sequence[int]], held_out: Sequence[Sequence[int]], judged: Sequence[Sequence[int]] = ()
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Rows on which nextitem-train splits off a sample of `held_out`, and before it one of `judged`, for its checkpoints.

    It splits by time alone, and the published splits have none: sessions are written one after another, the parts in order.
    Returns the rows and the settings of [data] that split them so.
    """
    held, kept = _sample(held_out), _sample(judged)
    sessions = [*training, *kept, *held]
    lengths = np.array([len(session) for session in sessions], dtype=np.int64)
    spacing = _spacing(lengths)
    # The cutoff, half a second before the first held-out session, counts back from the very last interaction.
    newest = (len(held) - 1) * spacing + len(held[-1]) - 1
    days = {"holdout_days": (newest + 0.5) / 86_400}
    if kept:
        days["validation_days"] = len(kept) * spacing / 86_400
    return as_rows(sessions), days


def _sample(sessions: Sequence[Sequence[int]]) -> Sequence[Sequence[int]]:
    return sessions[:: max(1, -(-len(sessions) // _MOST_HELD_OUT))]


def _spacing(lengths: np.ndarray) -> int:
    """Seconds between the beginnings of two sessions, of which each has a second for each interaction."""
    return int(lengths.max(initial=0)) + 1


def _bounds(rows: pd.DataFrame) -> tuple[np.ndarray, np.ndarray]:
    """Starts and lengths [S] of runs of one session."""
    session = rows[SESSION].to_numpy()
    starts = (
        np.flatnonzero(np.concatenate([[True], session[1:] != session[:-1]])) if len(rows) else np.empty(0, np.int64)
    )
    return starts, np.diff(np.append(starts, len(rows)))
