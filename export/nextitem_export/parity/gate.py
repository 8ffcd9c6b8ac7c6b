"""Proves a bundle: every case goes through the built graphs, and each step is held against NVTabular and the eager model."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.signature import Feature
from nextitem_bundle.runtime.special_ids import COLD, EMPTY, FIRST_ITEM, OK, PADDING
from nextitem_bundle.runtime.special_ids import STATUS as STATUS_NAMES
from nextitem_bundle.runtime.step import Step, open_step
from nextitem_bundle.runtime.steps import read_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32

from .._errors import ParityError
from ..adapters.rows import ByRow
from ..graphs import id_decoder
from ..layouts import StepFolders
from ..layouts.steps import available_items
from ..options import ExportOptions
from ..plan import Plan
from ..retrieval.tensors import CODES, SCORES, STATUS, head_tensors
from ..wire import request_tensors
from .cases import PADDED, Case, Filters, Sessions, draw_filters, make_cases
from .compare import RankingError, approximate_difference, feature_difference, head_difference, ranking_difference
from .items import ItemReference, ModelRows
from .reference import Encoded, Reference

_BY_ID = (
    "NVTabular's value depends on the session's id, which no request carries: join or compute it before fitting, so that each "
    "interaction has it in a column that is sent"
)


def prove(
    plan: Plan, options: ExportOptions, folders: StepFolders, whole: Path | None, progress: Callable[[str], None]
) -> tuple[CaseReport, ...]:
    """One report for each case, the sample as it is first.

    folders: of the three steps. whole: the version folder of the one model that they were made, None where they stay three.
    Raises ParityError.
    """
    items = ItemReference.read(
        folders.items,
        plan.vocabulary.cardinality,
        plan.probe,
        padding=options.item_padding or 0,
        known_alone=options.item_codes == "as-is",
        model_rows=ModelRows(plan.model.rows, plan.model.places.row) if isinstance(plan.model, ByRow) else None,
    )
    cases = make_cases(
        plan.sessions,
        plan.raw_features,
        time_columns=[c for c in plan.fitted.sort_columns if c in plan.raw_dtypes],
        window=plan.signature.window,
        max_sessions=plan.signature.max_sessions_per_request,
        max_interactions=plan.signature.max_interactions_per_session,
    )
    gate = Gate(folders, Reference(plan, items), plan, items, whole=whole, available=available_items(plan, options))
    return tuple(gate.check(cases, progress))


def progress_rate(done: int, total: int, seconds: float) -> str:
    """How far the sessions are, how many a second and how long the rest takes; empty at the beginning."""
    if not done:
        return ""
    rate = done / seconds
    return f" ({done:,} of {total:,} sessions, {rate:,.0f}/s, {(total - done) / rate:.0f} s left)"


@dataclasses.dataclass
class CaseReport:
    """How one case came out.

    judged: sessions that NVTabular has an answer for; reason: why it has none for most of the others, None where it has all.
    head_difference: None for a model without further heads.
    """

    case: str
    sessions: int = 0
    judged: int = 0
    feature_difference: float = 0.0
    score_difference: float = 0.0
    head_difference: float | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The row as it stands in bundle.json: without the reason, which may hold paths of this machine."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name != "reason"}

    def warning(self) -> str | None:
        """A sentence where NVTabular judged less than half of the sessions."""
        if 2 * self.judged >= self.sessions:
            return None
        return (
            f"NVTabular has an answer for {self.judged} of the {self.sessions} sessions in case '{self.case}', so that the "
            f"features of the others are not proved. Of most of them: {self.reason}"
        )


class Gate:
    """Holds the built steps and the reference.

    folders: of the features, retrieval and items steps. items: what the items step's ids are to NVTabular. whole: of the model
    that the steps were made into, where there is one; its answers are judged as theirs are. available: bool [V], the items
    that the bundle may recommend, all where not given.
    """

    def __init__(
        self,
        folders: tuple[Path, Path, Path],
        reference: Reference,
        plan: Plan,
        items: ItemReference,
        *,
        whole: Path | None = None,
        available: np.ndarray | None = None,
    ) -> None:
        self._available = available
        self._whole = open_step(whole) if whole else None
        self._item_reference = items
        self._features_step, self._retrieval, self._items = (open_step(folder) for folder in folders)
        approximate = _scoring(folders[1]) != "exact"
        self._ranking_difference = approximate_difference if approximate else ranking_difference
        self._reference = reference
        self._raw_features = plan.raw_features
        self._item_column = plan.signature.item_column
        self._features = plan.features
        self._heads = head_tensors(plan.signature.heads)
        self._item_feature = plan.item_feature
        self._item_tensor = plan.item_tensor
        self._window = plan.signature.window

    def check(self, cases: Sequence[Case], progress: Callable[[str], None] = lambda _: None) -> list[CaseReport]:
        """Run all cases.

        Raises ParityError at the first difference, with the case, the session and both values, and where NVTabular has no
        answer for any session of the sample; RankingError where it is the retrieval step that differs.
        """
        reports = []
        began, done, total = time.monotonic(), 0, sum(len(case.sessions) for case in cases)
        for case in cases:
            progress(f"parity: {case.name}{progress_rate(done, total, time.monotonic() - began)}")
            true = self._reference.encode(case.sessions)
            report = CaseReport(case.name, reason=true.reason())
            if case.own and not true.encoded:
                raise ParityError(
                    f"NVTabular has an answer for none of the {len(case.sessions)} sessions of the sample, so that nothing can "
                    f"be proved: {report.reason}. Give a sample that workflow.transform answers. The bundle was not written"
                )
            for start in range(0, len(case.sessions), case.batch_size):
                batch = case.sessions[start : start + case.batch_size]
                self._check_batch(case, start, batch, true.encoded, report)
            reports.append(report)
            done += len(case.sessions)
        return reports

    def _check_batch(
        self, case: Case, start: int, batch: Sessions, true: Mapping[int, Encoded], report: CaseReport
    ) -> None:
        request = request_tensors(batch, self._raw_features, width=_width(batch, case))
        if case.garbage:
            _fill_padding(request, self._raw_features)
        filters = None
        if case.filtered:
            random = np.random.default_rng(start)
            filters = draw_filters(batch, self._item_column, self._item_reference.ids[FIRST_ITEM:], random)
            request |= filters.tensors
        encoded = _run(self._features_step, request, case, start, "features")
        for feature in self._features:
            shape, due = list(encoded[feature.tensor].shape), [len(batch), self._window]
            if shape != due:
                _refuse(f"shape {shape} came, expected {due}", case, start, f"feature '{feature.name}'")
        ranked = _run(
            self._retrieval, {name: encoded[name] for name in self._retrieval.inputs}, case, start, "retrieval"
        )
        answer = _run(self._items, _items_inputs(ranked, encoded), case, start, "items")
        wanted = int(encoded[id_decoder.TOP_K][0, 0])
        self._check_items(case, start, ranked, answer, wanted)
        judged = [row for row in range(len(batch)) if start + row in true]
        report.sessions += len(batch)
        report.judged += len(judged)
        for row in judged:
            for feature in self._features:
                served = encoded[feature.tensor][row]
                newest = true[start + row][feature.name]
                if feature.name == self._item_feature:
                    ids = cast("pd.Series", batch[row][self._item_column])
                    fault = self._item_reference.fault(ids, newest)
                    _refuse(fault, case, start + row, f"feature '{feature.name}'")
                    newest = self._item_reference.codes(newest, len(batch[row]))
                newest = newest[-self._window :]  # where nothing in the workflow slices it
                worst, fault = feature_difference(newest, served)
                report.feature_difference = max(report.feature_difference, worst)
                if fault and self._reference.reads_ids(batch[row], case.sessions, feature.name):
                    fault = f"{fault}; {_BY_ID}"
                _refuse(fault, case, start + row, f"feature '{feature.name}'")
        self._check_ranking(case, start, batch, encoded, ranked, filters, report)
        if self._whole is not None:
            answer = _run(self._whole, request, case, start, "fused")
            self._check_ranking(case, start, batch, encoded, self._as_ranked(answer), filters, report)

    def _check_heads(
        self, case: Case, start: int, true: Mapping[str, np.ndarray], ranked: Any, report: CaseReport
    ) -> None:
        """The retrieval step's heads against the eager model's, by name, [B, N] each."""
        for tensor, head in self._heads.items():
            what, right, came = f"head '{head.name}'", true[head.name], ranked[tensor]
            for row, (due, given) in enumerate(zip(right, came, strict=True)):
                if not np.isfinite(due).all():
                    _refuse(f"the eager model gives {due}: let it give finite numbers", case, start + row, what)
                worst, fault = head_difference(due, given)
                report.head_difference = max(report.head_difference or 0.0, worst)
                _refuse(fault, case, start + row, what, RankingError)

    def _check_ranking(
        self,
        case: Case,
        start: int,
        batch: Sessions,
        encoded: Any,
        ranked: Any,
        filters: Filters | None,
        report: CaseReport,
    ) -> None:
        """The retrieval step on what the features step gave, against the eager model on the same."""
        sessions = [{f.name: encoded[f.tensor][row] for f in self._features} for row in range(len(batch))]
        self._check_heads(case, start, self._reference.heads(sessions, self._window), ranked, report)
        scores = self._reference.scores(sessions, self._window)
        if self._available is not None:
            scores[:, ~self._available] = LOWEST_FLOAT32
        if filters is not None:
            scores[filters.barred] = LOWEST_FLOAT32
        for row, session in enumerate(batch):
            if np.isnan(scores[row]).any():
                _refuse(f"the eager model's scores are NaN; {_whence(sessions[row])}", case, start + row, "ranking")
            worst, fault = self._ranking_difference(scores[row], ranked[CODES][row], ranked[SCORES][row])
            report.score_difference = max(report.score_difference, worst)
            _refuse(fault, case, start + row, "ranking", RankingError)
            items = int((encoded[self._item_tensor][row] >= FIRST_ITEM).sum())
            due = OK if items else COLD if len(session) else EMPTY
            if ranked[STATUS][row, 0] != due:
                fault = (
                    f"{STATUS_NAMES[ranked[STATUS][row, 0]]} came, expected {STATUS_NAMES[due]}: {items} of "
                    f"{len(session)} items are known"
                )
            _refuse(fault, case, start + row, "status", RankingError)

    def _as_ranked(self, answer: Any) -> dict[str, np.ndarray]:
        """A finished answer as the retrieval step would have given it: raw ids as codes, null as padding."""
        codes = [
            [self._item_reference.code_of.get(item, PADDING) for item in row] for row in answer["item_ids"].tolist()
        ]
        status = [[STATUS_NAMES.index(name) for name in row] for row in answer["status"].tolist()]
        heads = {tensor: answer[head.name] for tensor, head in self._heads.items()}
        return {CODES: np.array(codes), SCORES: answer["scores"], STATUS: np.array(status), **heads}

    def _check_items(self, case: Case, start: int, ranked: Any, answer: Any, wanted: int) -> None:
        """Raw ids against what the step calls the codes, scores and status as retrieval gave them, cut to the items wanted."""
        expected = {
            "item_ids": self._item_reference.ids[ranked[CODES][:, :wanted]],
            "scores": ranked[SCORES][:, :wanted],
            "status": np.array(STATUS_NAMES, dtype=object)[ranked[STATUS]],
        }
        for name, right in expected.items():
            for row, (came, due) in enumerate(zip(answer[name], right, strict=True)):
                if not np.array_equal(came, due):
                    _refuse(f"{came} came, expected {due}", case, start + row, f"the answer's {name}")


def _scoring(retrieval: Path) -> str:
    return getattr(read_step(retrieval), "scoring", "exact")


def _run(step: Step, tensors: Any, case: Case, start: int, what: str) -> dict[str, Any]:
    try:
        return step.run(tensors)
    except Exception as error:
        kind = RankingError if what in ("retrieval", "fused") else ParityError
        raise kind(
            f"the {what} step failed for the request that starts with session {start} in case '{case.name}': "
            f"{type(error).__name__}: {error}. The bundle was not written"
        ) from error


def _items_inputs(ranked: Any, encoded: Any) -> dict[str, np.ndarray]:
    return {
        id_decoder.CODES: ranked[CODES],
        id_decoder.SCORES: ranked[SCORES],
        id_decoder.STATUS: ranked[STATUS],
        id_decoder.TOP_K: encoded[id_decoder.TOP_K],
    }


def _width(batch: Sessions, case: Case) -> int | None:
    return max(map(len, batch)) + PADDED if case.garbage else None


def _fill_padding(request: dict[str, np.ndarray], features: Sequence[Feature]) -> None:
    """What stands in the padding is the first interaction of the request: the worst case, since it is valid."""
    lengths = request["session_length"]
    for feature in features:
        values = request[feature.name]
        values[np.arange(values.shape[1]) >= lengths] = values[0, 0]


def _whence(session: Mapping[str, np.ndarray]) -> str:
    """What to do about NaN in the scores of a session's features."""
    wrong = [name for name, values in session.items() if not np.isfinite(values).all()]
    if wrong:
        return f"so is its feature '{wrong[0]}': fill nulls in the workflow (ops.FillMissing after Normalize)"
    return (
        "its features are not: the model makes NaN of them (a root, a logarithm, an infinite weight or a number too large for "
        "float32?)"
    )


def _refuse(fault: str | None, case: Case, session: int, what: str, kind: type[ParityError] = ParityError) -> None:
    if fault:
        raise kind(f"{what} of session {session} in case '{case.name}': {fault}. The bundle was not written")
