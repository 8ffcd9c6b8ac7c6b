"""Answers sessions from a run directory in-process, with NVTabular itself and the eager model.

It is the reference for what a server should answer, and says exactly:
- One answer per session, in the order in which sessions first appear; none is dropped.
- Rows of a session count in their order where their times are equal.
- A session is `cold` where no item among its newest `window` interactions is known, because the
  model reads no others. Cold and empty sessions get the most popular items; the score is the log
  of the item's share of training interactions.
- Padding, null and unknown are never recommended. Equal scores: the lower code first.
- A head's value for a cold or empty session is the lowest float32: a model that knows none of the
  session's items has nothing to say.
- Slots that no item fills hold the type's null (the empty string, the smallest int64) and the
  lowest float32.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch

from nextitem_training.data.sessions import select
from nextitem_training.errors import DataError
from nextitem_training.interactions import INT64, conform
from nextitem_training.run_directory import RunDirectory
from nextitem_training.special_ids import FIRST_KNOWN, LOWEST_SCORE, NULL_INT64, NULL_STRING
from nextitem_training.workflow import encode, vocabulary

OK = "ok"
COLD = "cold"
EMPTY = "empty"

_BATCH = 256


@dataclass(frozen=True)
class Recommendations:
    """Answers to B sessions."""

    session_ids: list
    """[B], in the order in which the sessions first appear."""
    item_ids: np.ndarray
    """object or int64 [B, K], best first."""
    scores: np.ndarray
    """float32 [B, K]."""
    status: list[str]
    """[B]: ok, cold or empty."""
    heads: dict[str, np.ndarray]
    """By head: float32 [B, N], a probability or a value in the column's unit."""


@dataclass(frozen=True)
class SessionScores:
    """Scores of all items for B sessions."""

    session_ids: list
    """[B]."""
    scores: np.ndarray
    """float32 [B, V] by code; the lowest float32 for padding, null and unknown."""
    status: list[str]
    """[B]."""
    heads: dict[str, np.ndarray]
    """As in `Recommendations`."""


class OfflinePredictor:
    """Answers raw interactions with a trained run.

    Attributes:
        item_ids: object or int64 [V], the raw id by code; the type's null for codes 0 to 2.
    """

    def __init__(self, run: RunDirectory) -> None:
        """Loads the run's workflow (see `RunDirectory.load_workflow`) and model."""
        self._schema = run.schema
        self._model = run.load_model()
        self._workflow = run.load_workflow()
        items = vocabulary(self._workflow, run.schema.item_column)
        is_int = run.schema.raw_dtypes[run.schema.item_column] == INT64
        null = [NULL_INT64 if is_int else NULL_STRING] * FIRST_KNOWN
        dtype = np.int64 if is_int else object
        self.item_ids = np.concatenate([np.array(null, dtype=dtype), items.values.astype(dtype)])
        counts = np.maximum(items.counts, 0.5)  # what nobody clicked is behind all others, and not impossible
        share = counts / counts.sum()
        self._popularity = _without_special(np.concatenate([[1.0] * 3, share]))

    def predict(self, sessions: pd.DataFrame, k: int, session_ids: Iterable | None = None) -> Recommendations:
        """Recommends k items per session.

        Args:
            sessions: raw rows with the session column and the raw features; nulls are allowed.
                A session's interactions stand in the order in which they would be sent. The
                tie-breaker column is not needed.
            k: items per session, at least 1; may exceed the catalogue.
            session_ids: the sessions to answer, in this order; those without rows are empty.
                By default those of `sessions`, in the order in which they first appear.

        Raises:
            DataError: a column is missing or of another type, a session's id is null or not
                among `session_ids`, or k is below 1.
        """
        if k < 1:
            raise DataError(f"k is {k}; it has to be at least 1.")
        result = self.scores(sessions, session_ids)
        # Stable, so that equal scores stay in the order of their codes.
        best = np.argsort(-result.scores, axis=1, kind="stable")[:, :k]
        scores = np.take_along_axis(result.scores, best, axis=1)
        items = self.item_ids[best]
        null = self.item_ids[0]
        items[scores <= LOWEST_SCORE] = null  # special codes, and what the model has no number for
        lacking = ((0, 0), (0, max(0, k - best.shape[1])))
        return Recommendations(
            session_ids=result.session_ids,
            item_ids=np.pad(items, lacking, constant_values=null),
            scores=np.pad(scores, lacking, constant_values=np.float32(LOWEST_SCORE)),
            status=result.status,
            heads=result.heads,
        )

    def scores(self, sessions: pd.DataFrame, session_ids: Iterable | None = None) -> SessionScores:
        """Scores of the whole catalogue; arguments and errors as for `predict`."""
        rows, asked = self._rows(sessions, session_ids)
        scores = np.tile(self._popularity, (len(asked), 1))
        status = np.full(len(asked), EMPTY, dtype=object)
        widths = self._model.head_widths
        heads = {name: np.full((len(asked), width), LOWEST_SCORE, np.float32) for name, width in widths.items()}
        if len(rows):
            encoded = encode(self._workflow, rows, self._schema)
            answered = encoded.session_ids.astype(np.int64)  # the rows' numbers of sessions
            for start in range(0, len(encoded), _BATCH):
                batch = np.arange(start, min(start + _BATCH, len(encoded)))
                known, computed, predicted = self._run(select(encoded, batch))
                place = answered[batch]
                status[place] = np.where(known, OK, COLD)
                scores[place[known]] = computed[known]
                for name, values in predicted.items():
                    heads[name][place[known]] = values[known]
        return SessionScores(asked, scores, status.tolist(), heads)

    def _rows(self, sessions: pd.DataFrame, session_ids: Iterable | None) -> tuple:
        """Conforms the rows and numbers the sessions 0..B-1 in the order of the answer."""
        column = self._schema.session_column
        if column not in sessions.columns:
            raise DataError(f"The rows have no column '{column}', which tells sessions apart.")
        if session_ids is None:
            numbers, asked = pd.factorize(sessions[column])
        else:
            asked = list(session_ids)
            numbers = pd.Index(asked).get_indexer(sessions[column])
        if (numbers < 0).any():
            wrong = sessions[column].iloc[int(np.argmax(numbers < 0))]
            raise DataError(
                f"Column '{column}' holds {wrong!r}; expected is the id of a session that is asked for, and no null."
            )
        rows = conform(sessions, self._schema.raw_dtypes)
        rows[column] = numbers.astype(np.int64)
        if self._schema.tie_breaker_column:
            rows[self._schema.tie_breaker_column] = np.arange(len(rows), dtype=np.int64)
        return rows, list(asked)

    @torch.inference_mode()
    def _run(self, features: dict[str, np.ndarray]) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray]]:
        """Features [B, T] → whether an item is known, bool [B], scores float32 [B, V], and heads float32 [B, N]."""
        known = (features[self._schema.item_feature] >= FIRST_KNOWN).any(axis=1)
        query, heads = self._model.query_and_heads({name: torch.from_numpy(v) for name, v in features.items()})
        scores = (query @ self._model.item_table().T).numpy()
        scores[:, :FIRST_KNOWN] = LOWEST_SCORE
        scores[~(scores > LOWEST_SCORE)] = (
            LOWEST_SCORE  # NaN and -inf, as of features beyond float32, are no recommendation
        )
        return known, scores, {name: values.numpy() for name, values in heads.items()}


def _without_special(share: np.ndarray) -> np.ndarray:
    """Log shares as float32 [V]; the lowest score for the special codes."""
    scores = np.log(share).astype(np.float32)
    scores[:FIRST_KNOWN] = LOWEST_SCORE
    return scores
