"""What NVTabular itself makes of items: the reference for what the workflow's item feature holds.

Nothing is read out of the workflow's operators here. Raw ids go through `workflow.transform`, and what comes out is what the
model was trained on, whatever stands between.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from typing import Any, cast

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.features.nvtabular import pandas_column, stand_ins
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from .._errors import UnsupportedWorkflow
from ..wire import raw_feature, wire_column
from .fitted import FittedWorkflow

#: Ids that are asked one in a session; of more, the others share sessions of so many, which is eight times as fast.
ALONE = 1_000
PACKED = 20
#: Values that no training has seen.
NEVER_SEEN, FAR_AWAY = "never seen ☃", int(np.iinfo(np.int64).max) - 7


class ItemProbe:
    """Asks a fitted workflow what its item feature holds for raw ids.

    column: the raw column of item ids, of the training dtype `dtype`. feature: the workflow's output. rows: raw interactions
    with all of the workflow's columns, whose other values go along with the ids.

    kind: of the raw column, as `Feature` has it.
    """

    def __init__(
        self,
        fitted: FittedWorkflow,
        column: str,
        feature: str,
        dtype: str,
        rows: pd.DataFrame,
        tie_breaker_column: str | None,
    ) -> None:
        self._fitted = fitted
        self.column, self.feature, self._dtype = column, feature, dtype
        self.kind = raw_feature(column, dtype).kind
        whole = rows.dropna(subset=[name for name in fitted.raw_columns if name in rows])
        self._rows = whole if len(whole) else rows
        self._items = cast("pd.Series", rows[column])
        self._tie_breaker = tie_breaker_column
        #: What was asked before, and what NVTabular gave: the plan and the parity gate have many of the same ids.
        self._answers: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def of_strings(self) -> bool:
        """Whether raw ids are strings, else int64."""
        return self.kind == "string"

    def values(self, ids: np.ndarray) -> np.ndarray:
        """int64 [N]: what the feature holds for these raw ids, int64 or object array of str, none of them null.

        Raises UnsupportedWorkflow where that depends on more than the item, or where NVTabular gives no answer.
        """
        for asked, values in self._answers:
            if asked.dtype == ids.dtype and np.array_equal(asked, ids):
                return values
        values = self._values(ids)
        self._answers.append((ids, values))
        return values

    def _values(self, ids: np.ndarray) -> np.ndarray:
        if not len(ids):
            return np.zeros(0, dtype=np.int64)
        places = np.unique(np.linspace(0, len(ids) - 1, ALONE).astype(int))
        some = ids[places]
        alone = self._alone(some, self._rows.iloc[:1])
        varied = self._alone(some, self._rows)
        if not np.array_equal(alone, varied):
            at = int(np.flatnonzero(alone != varied)[0])
            raise UnsupportedWorkflow(
                f"the workflow gives item {some[at]!r} the value {alone[at]} in '{self.feature}' beside some values of other "
                f"columns and {varied[at]} beside others, expected one value an item: make '{self.feature}' of "
                f"'{self.column}' alone"
            )
        if len(places) == len(ids):
            return alone
        with contextlib.suppress(
            Exception
        ):  # sessions in which something is sliced away, or sorted by more than we know
            packed = self._asked(ids, PACKED, self._rows.iloc[:1])
            if np.array_equal(packed[places], alone):
                return packed
        return self._alone(ids, self._rows.iloc[:1])

    def unknown(self) -> int:
        """What the feature holds for an item that training has not seen."""
        return int(self.values(np.array([NEVER_SEEN if self.of_strings else FAR_AWAY], dtype=self._wire_dtype))[0])

    def null(self, known: Any) -> int | None:
        """What the feature holds for null beside a known id; None where NVTabular has no answer."""
        null = NULL_STRING if self.of_strings else NULL_INT64
        with contextlib.suppress(Exception):
            return int(self._alone(np.array([known, null], dtype=self._wire_dtype), self._rows.iloc[:1])[1])
        return None

    def sample_ids(self) -> np.ndarray:
        """The raw ids of the sample, each once, int64 or object array of str."""
        ids = self._items.dropna()
        if self.kind == "datetime":
            return np.unique(wire_column(ids, raw_feature(self.column, self._dtype)))
        each = ids.unique().tolist()
        return np.array([str(item) if self.of_strings else int(item) for item in each], dtype=self._wire_dtype)

    def counts(self, ids: np.ndarray) -> np.ndarray:
        """int64 [N]: interactions of the sample with each of these ids."""
        return self._items.value_counts().reindex(ids, fill_value=0).to_numpy(np.int64)

    @property
    def _wire_dtype(self) -> Any:
        return np.object_ if self.of_strings else np.int64

    def _alone(self, ids: np.ndarray, rows: pd.DataFrame) -> np.ndarray:
        """The feature's values of sessions of one id each; of that id twice, where the workflow drops sessions of one."""
        try:
            return self._asked(ids, 1, rows)
        except UnsupportedWorkflow:
            with contextlib.suppress(UnsupportedWorkflow):
                first, second = self._asked(np.repeat(ids, 2), 2, rows).reshape(-1, 2).T
                if np.array_equal(first, second):
                    return first
            raise

    def _asked(self, ids: np.ndarray, length: int, rows: pd.DataFrame) -> np.ndarray:
        """The feature's values, int64 [N], of sessions of `length` ids each."""
        frame = rows.iloc[np.arange(len(ids)) % len(rows)].reset_index(drop=True)
        frame[self.column] = pandas_column(ids, self.kind, self._dtype)
        sessions = np.arange(len(ids)) // length
        frame[self._fitted.session_column] = stand_ins(sessions, self._fitted.raw_columns[self._fitted.session_column])
        if length > 1:
            for name in self._fitted.sort_columns:
                if name in frame:
                    frame[name] = _rising(frame[name])
        if self._tie_breaker is not None:
            frame[self._tie_breaker] = np.arange(len(ids))
        try:
            with quiet():
                lists = self._fitted.transform_all(frame)[self.feature].tolist()
        except Exception as error:
            raise UnsupportedWorkflow(
                f"NVTabular cannot compute '{self.feature}' of the item {ids[0]!r} beside a row of the sample: "
                f"{type(error).__name__}: {error}. Give a sample of raw interactions as they were in training"
            ) from error
        sent = [min(length, len(ids) - start) for start in range(0, len(ids), length)]
        # A ListSlice may pad lists, on the right.
        found = np.concatenate(
            [np.asarray(values)[:n] for values, n in zip(lists, sent, strict=False)] or [np.zeros(0)]
        )
        if len(found) != len(ids) or not np.isfinite(found).all():
            raise UnsupportedWorkflow(
                f"the workflow gives {len(found)} values in '{self.feature}' for {len(ids)} interactions, expected one number "
                "for each: take out what drops interactions or leaves null"
            )
        return found.astype(np.int64)


def _rising(values: pd.Series) -> pd.Series:
    count = np.arange(len(values))
    if values.dtype.kind == "M":
        return pd.Series(pd.Timestamp("2000-01-01") + pd.to_timedelta(count, unit="s"))
    return pd.Series(count).astype(values.dtype) if values.dtype.kind in "iuf" else values


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Without Merlin's log of the errors that are expected here."""
    logger = logging.getLogger("merlin")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        logger.setLevel(level)
