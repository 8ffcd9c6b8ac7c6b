"""Sends every case through the built graphs and compares each step with the truth."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .._errors import ParityError
from ..graphs import items as items_graph
from ..graphs.ranker import CODES, SCORES, STATUS, RankerFeature
from ..runtime.codes import EMPTY, FIRST_ITEM, NULL_INT64, NULL_STRING
from ..runtime.codes import STATUS as STATUS_NAMES
from ..runtime.signature import RawFeature
from ..runtime.step import open_step
from ..wire import request_tensors
from .cases import Case, Sessions
from .compare import feature_difference, ranking_difference
from .truth import Truth


@dataclasses.dataclass
class CaseReport:
    """How one case came out. judged: sessions that NVTabular has an answer for."""

    case: str
    sessions: int = 0
    judged: int = 0
    feature_difference: float = 0.0
    score_difference: float = 0.0

    def to_json(self) -> dict[str, Any]:
        """The row as it stands in bundle.json."""
        return dataclasses.asdict(self)


class Gate:
    """Holds the built steps and the truth. `values`: raw ids [V - 3] by code from 3."""

    def __init__(
        self,
        folders: tuple[Path, Path, Path],
        truth: Truth,
        raw_features: Sequence[RawFeature],
        features: Sequence[RankerFeature],
        values: np.ndarray,
    ) -> None:
        self._features_step, self._ranker, self._items = (open_step(folder) for folder in folders)
        self._truth = truth
        self._raw_features = raw_features
        self._features = features
        strings = values.dtype == object
        null = [NULL_STRING if strings else NULL_INT64] * FIRST_ITEM
        self._values = np.array([*null, *values.tolist()], dtype=values.dtype)

    def check(self, cases: Sequence[Case], progress: Callable[[str], None] = lambda _: None) -> list[CaseReport]:
        """Run all cases. Raises ParityError at the first difference, with the case, the session and both values."""
        reports = []
        for case in cases:
            progress(f"parity: {case.name}")
            report = CaseReport(case.name)
            true = self._truth.encode(case.sessions)
            for start in range(0, len(case.sessions), case.batch_size):
                batch = case.sessions[start : start + case.batch_size]
                self._check_batch(case, start, batch, true, report)
            reports.append(report)
        return reports

    def _check_batch(self, case: Case, start: int, batch: Sessions, true: dict[int, Any], report: CaseReport) -> None:
        request = request_tensors(batch, self._raw_features, width=_width(batch, case))
        if case.garbage:
            _fill_padding(request, self._raw_features)
        encoded = self._features_step.run(request)
        ranked = self._ranker.run({f.tensor: encoded[f.tensor] for f in self._features})
        answer = self._items.run(_items_inputs(ranked, encoded))
        self._check_items(case, ranked, answer)
        judged = [row for row in range(len(batch)) if start + row in true]
        report.sessions += len(batch)
        report.judged += len(judged)
        for row in judged:
            for feature in self._features:
                worst, fault = feature_difference(true[start + row][feature.name], encoded[feature.tensor][row])
                report.feature_difference = max(report.feature_difference, worst)
                _refuse(fault, case, start + row, f"feature '{feature.name}'")
        self._check_ranking(case, start, batch, encoded, ranked, report)

    def _check_ranking(
        self, case: Case, start: int, batch: Sessions, encoded: Any, ranked: Any, report: CaseReport
    ) -> None:
        """The ranker on what the features step gave, against the eager model on the same."""
        sessions = [{f.name: encoded[f.tensor][row] for f in self._features} for row in range(len(batch))]
        window = encoded[self._features[0].tensor].shape[1]
        scores = self._truth.scores(sessions, window)
        for row, session in enumerate(batch):
            if np.isnan(scores[row]).any():
                _refuse(
                    "the eager model's scores are NaN; fill nulls in the workflow (ops.FillMissing after Normalize)",
                    case,
                    start + row,
                    "ranking",
                )
            worst, fault = ranking_difference(scores[row], ranked[CODES][row], ranked[SCORES][row])
            report.score_difference = max(report.score_difference, worst)
            _refuse(fault, case, start + row, "ranking")
            if (len(session) == 0) != (ranked[STATUS][row, 0] == EMPTY):
                fault = f"status is {STATUS_NAMES[ranked[STATUS][row, 0]]} for {len(session)} interactions"
            _refuse(fault, case, start + row, "status")

    def _check_items(self, case: Case, ranked: Any, answer: Any) -> None:
        """Raw ids against the vocabulary, cut to the items wanted."""
        wanted = answer["item_ids"].shape[1]
        expected = self._values[ranked[CODES][:, :wanted]]
        for row in np.flatnonzero((answer["item_ids"] != expected).any(axis=1)):
            _refuse(f"{answer['item_ids'][row]} came, expected {expected[row]}", case, int(row), "raw ids")


def _items_inputs(ranked: Any, encoded: Any) -> dict[str, np.ndarray]:
    return {
        items_graph.CODES: ranked[CODES],
        items_graph.SCORES: ranked[SCORES],
        items_graph.STATUS: ranked[STATUS],
        items_graph.TOP_K: encoded[items_graph.TOP_K],
    }


def _width(batch: Sessions, case: Case) -> int | None:
    return max(map(len, batch)) + 3 if case.garbage else None


def _fill_padding(request: dict[str, np.ndarray], features: Sequence[RawFeature]) -> None:
    """What stands in the padding is the first interaction of the request: the worst case, since it is valid."""
    lengths = request["session_length"]
    for feature in features:
        values = request[feature.name]
        values[np.arange(values.shape[1]) >= lengths] = values[0, 0]


def _refuse(fault: str | None, case: Case, session: int, what: str) -> None:
    if fault:
        raise ParityError(f"{what} of session {session} in case '{case.name}': {fault}. The bundle was not written")
