"""Proving a version whose catalogue was updated: its answers against its tables, without the graphs that were written for it.

The reference is plain numpy. Codes of items are looked up in a dictionary of the tables' ids; what else the model reads comes
from the compiled workflow of the version before; the session model runs in a graph of its own, which reads vectors of items; a
score is a product, and what filters and the availability list bar is worked out id by id.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.request import read_request
from nextitem_bundle.runtime.retrieval import AVAILABILITY
from nextitem_bundle.runtime.signature import Feature
from nextitem_bundle.runtime.special_ids import COLD, EMPTY, FIRST_ITEM, NULL, OK, PADDING, UNKNOWN
from nextitem_bundle.runtime.special_ids import STATUS as STATUS_NAMES
from nextitem_bundle.runtime.step import Step, open_step
from nextitem_bundle.runtime.wire import LOWEST_FLOAT32, NULL_INT64, NULL_STRING

from .._errors import CatalogueError, ParityError
from ..graphs import id_decoder
from ..parity.cases import draw_filters
from ..parity.compare import approximate_difference, ranking_difference
from ..retrieval.tensors import OUTPUTS
from ..wire import request_tensors
from .changes import Changes
from .reading import read_items
from .stored import StoredCatalogue
from .tables import Tables

Sessions = list[pd.DataFrame]

#: Sessions of the case that asks for them as they are and of each of the others, at most. Of a catalogue so large that these
#: would take long, as many as score so many items, but for the fewest.
SESSIONS, PERTURBED = 100, 32
_SCORED, _FEWEST = 32_000_000, 8
#: What the reference's scores may take at once.
_HELD_BYTES = 256 << 20
#: The share of interactions whose item becomes one that was added, changed or removed.
_MIXED = 0.5


@dataclasses.dataclass(frozen=True)
class Proof:
    """How one case came out: the sessions that were asked, and the largest difference of a score."""

    case: str
    sessions: int
    score_difference: float


@dataclasses.dataclass(frozen=True)
class Case:
    """Sessions that are asked. filtered: with random filters."""

    name: str
    sessions: Sessions
    filtered: bool = False


def read_sessions(stored: StoredCatalogue, sample: str | Path | None) -> Sessions:
    """Raw sessions, a frame each: those of a file, or those that the export kept.

    Raises CatalogueError where there are none, or the file lacks a column.
    """
    if sample is None:
        found = stored.sessions()
        if not found:
            raise CatalogueError(
                "the export kept no sessions to prove a new version by: name a file of interactions, "
                "update_catalogue(sample='clicks.parquet'), or export with ExportOptions(keep_proof=100)"
            )
        return found[:SESSIONS]
    frame = read_items(Path(sample)).to_pandas()
    names = stored.signature.feature_names
    missing = [name for name in (stored.session_column, *names) if name not in frame]
    if missing:
        raise CatalogueError(
            f"{sample} lacks the column(s) {', '.join(missing)} of interactions; it has {', '.join(map(str, frame))}"
        )
    kept = frame[[stored.session_column, *names]].copy()
    for feature in stored.signature.features:
        kept[feature.name] = _as_sent(kept[feature.name], feature, sample)
    groups = kept.groupby(stored.session_column, sort=False)
    most = stored.signature.max_interactions_per_session
    return [session.iloc[-most:].reset_index(drop=True) for _, session in groups][:SESSIONS]


def _as_sent(values: pd.Series, feature: Feature, sample: str | Path) -> pd.Series:
    """A column in the feature's type, where CSV has text. Raises CatalogueError where it has another one."""
    text = values.dropna().map(type).eq(str).all() if values.dtype == object else False
    try:
        if feature.kind == "datetime":
            return pd.to_datetime(values)
        if feature.kind != "string":
            return pd.to_numeric(values) if text else values
    except (ValueError, TypeError) as error:
        raise CatalogueError(f"{sample} holds no {feature.kind} in '{feature.name}': {error}") from None
    if text:
        return values
    raise CatalogueError(
        f"{sample} holds {values.dtype} in '{feature.name}', and the bundle is sent text there: write it as text"
    )


def prove(
    stored: StoredCatalogue,
    changes: Changes,
    folder: Path,
    version: int,
    sessions: Sessions,
    progress: Callable[[str], None],
) -> tuple[Proof, ...]:
    """Ask a version that was written into a folder, and compare every answer with the reference.

    stored: the version before. Raises ParityError at the first difference.
    """
    tables = changes.tables
    compared = _Comparison(stored, tables, Reference(stored, tables), Answers(stored, folder, version))
    reports: list[Proof] = []
    for case in cases_of(sessions, changes, stored):
        progress(f"proving: {case.name}")
        reports.append(compared.of_case(case))
    return tuple(reports)


def cases_of(sessions: Sessions, changes: Changes, stored: StoredCatalogue) -> list[Case]:
    """The sessions as they are, and such with items that were added, changed, removed or never known. Always the same ones."""
    random = np.random.default_rng(0)
    column = stored.signature.item_column
    most = max(_FEWEST, _SCORED // (FIRST_ITEM + len(changes.tables.ids)))
    sessions = sessions[:most]
    some = sessions[: min(PERTURBED, max(_FEWEST, most // 3))]
    listed = np.flatnonzero(~changes.tables.removed) + FIRST_ITEM
    gone = np.flatnonzero(changes.tables.removed) + FIRST_ITEM
    strings = changes.tables.ids.dtype == object
    unknown = "never seen ☃" if strings else int(np.iinfo(np.int64).max) - 7

    def mixed(codes: np.ndarray, share: float = _MIXED) -> Sessions:
        return [_with_items(session, column, changes.ids(codes), share, random) for session in some]

    cases = [Case("sessions as they are", sessions)]
    new = np.concatenate([changes.added, changes.returned, changes.changed])
    if len(new):
        cases += [Case("with new and changed items", mixed(new)), Case("new and changed items alone", mixed(new, 1.0))]
    if len(gone):
        cases += [Case("with removed items", mixed(gone)), Case("removed items alone", mixed(gone, 1.0))]
    everything = np.concatenate([new, gone, listed])
    cases += [
        Case("nothing known", [_with_items(session, column, [unknown], 1.0, random) for session in some]),
        Case("no interactions", [some[0].iloc[:0]]),
        Case("filters", [*mixed(everything), some[0].iloc[:0]], filtered=True),
    ]
    return cases


def _with_items(
    session: pd.DataFrame, column: str, ids: Sequence[Any], share: float, random: np.random.Generator
) -> pd.DataFrame:
    """The session with other items in a share of its interactions, one at least."""
    places = random.random(len(session)) < share
    places[random.integers(len(session))] = True
    items = session[column].astype(object).copy()
    items[places] = [ids[place] for place in random.integers(len(ids), size=int(places.sum()))]
    return session.assign(**{column: items})


class Reference:
    """What a catalogue of these tables answers. stored: the version before, whose session model it is."""

    def __init__(self, stored: StoredCatalogue, tables: Tables) -> None:
        self._stored = stored
        self._null = NULL_STRING if tables.ids.dtype == object else NULL_INT64
        self._code_of = {
            item: code
            for code, (item, gone) in enumerate(
                zip(tables.ids.tolist(), tables.removed.tolist(), strict=True), FIRST_ITEM
            )
            if not gone
        }
        self._vectors = stored.vectors(tables)
        self._table = stored.ranked_table(self._vectors, tables.bias)
        counts = np.maximum(tables.counts, 0.5)
        self._log_popularity = np.log(counts / counts.sum()).astype(np.float32)
        self._barred = np.concatenate([np.ones(FIRST_ITEM, dtype=bool), tables.removed]) | self._unavailable()

    def __len__(self) -> int:
        """V."""
        return len(self._table)

    def _unavailable(self) -> np.ndarray:
        """bool [V]: what the availability list of the version before keeps back."""
        version = self._stored.manifest.version
        places = [self._stored.repository / model / str(version) for model in self._stored.models]
        found = [file for place in places for file in place.rglob(AVAILABILITY)]
        if not found:
            return np.zeros(len(self), dtype=bool)
        ((kind, ids),) = json.loads(found[0].read_text(encoding="utf-8")).items()
        listed = np.zeros(len(self), dtype=bool)
        listed[[self._code_of[item] for item in ids if item in self._code_of]] = True
        return listed if kind == "unavailable" else ~listed

    def answers(self, sessions: Sessions) -> tuple[np.ndarray, np.ndarray]:
        """Scores float32 [B, V], the lowest FP32 for what must not come, and status int [B]."""
        stored, codes = self._stored, self._codes(sessions)
        request = read_request(request_tensors(sessions, stored.signature.features), stored.signature)
        encoded = stored.program.run(request.tensors(None))
        encoded = {**encoded, stored.item_tensor: codes}
        known = (codes >= FIRST_ITEM).any(axis=1)
        queries = stored.queries(encoded, self._vectors)
        scores = (queries @ self._table.T).astype(np.float32)
        scores[~known, FIRST_ITEM:] = self._log_popularity
        scores[:, self._barred] = LOWEST_FLOAT32
        filled = (codes != PADDING).any(axis=1)
        return scores, np.where(known, OK, np.where(filled, COLD, EMPTY))

    def _codes(self, sessions: Sessions) -> np.ndarray:
        """The item codes that the model reads of each session, int64 [B, T]."""
        signature, newest = self._stored.signature, self._stored.newest
        codes = np.zeros((len(sessions), signature.window), dtype=np.int64)
        for row, session in enumerate(sessions):
            items = session[signature.item_column].tolist()
            found = [NULL if self._is_null(item) else self._code_of.get(item, UNKNOWN) for item in items]
            if newest.sorted_by is not None:
                order = np.argsort(cast("pd.Series", session[newest.sorted_by]).to_numpy(), kind="stable")
                found = [found[place] for place in order]
            kept = found[-signature.window :]
            codes[row, : len(kept)] = kept
        return codes

    def code_of(self, item: Any, where: str) -> int:
        """The code of a raw id that came in an answer, padding for null. Raises ParityError for an id of no item."""
        if item == self._null:
            return PADDING
        if item not in self._code_of:
            raise _refused(f"{where}: the item {item!r} came, which the catalogue does not have")
        return self._code_of[item]

    def _is_null(self, item: object) -> bool:
        return bool(pd.isna(cast("Any", item))) or item == self._null


class Answers:
    """Asks a version that was written: its three steps one after the other, or the one model that they became."""

    def __init__(self, stored: StoredCatalogue, folder: Path, version: int) -> None:
        *steps, name = stored.models
        self._steps: list[Step] = [open_step(folder / model / str(version)) for model in (steps or [name])]

    def ask(self, request: Mapping[str, np.ndarray]) -> Mapping[str, np.ndarray]:
        """The answer: item_ids and scores [B, K], status [B, 1]."""
        if len(self._steps) == 1:
            return self._steps[0].run(request)
        features, retrieval, items = self._steps
        encoded = features.run(request)
        ranked = retrieval.run({name: encoded[name] for name in retrieval.inputs})
        ranked = {inner: ranked[outer] for inner, outer in zip(id_decoder.INPUTS, OUTPUTS, strict=False)}
        return items.run({**ranked, id_decoder.TOP_K: encoded[id_decoder.TOP_K]})


@dataclasses.dataclass(frozen=True)
class _Comparison:
    """One version beside its reference."""

    stored: StoredCatalogue
    tables: Tables
    reference: Reference
    answers: Answers

    def of_case(self, case: Case) -> Proof:
        """Raises ParityError at the first difference."""
        most = self.stored.signature.max_sessions_per_request
        at_once = max(1, min(most, _HELD_BYTES // (16 * len(self.reference))))
        worst = 0.0
        for start in range(0, len(case.sessions), at_once):
            worst = max(worst, self._of_batch(case, start, case.sessions[start : start + at_once]))
        return Proof(case.name, len(case.sessions), worst)

    def _of_batch(self, case: Case, start: int, batch: Sessions) -> float:
        signature = self.stored.signature
        request = request_tensors(batch, signature.features)
        scores, status = self.reference.answers(batch)
        if case.filtered:
            filters = draw_filters(batch, signature.item_column, self.tables.ids, np.random.default_rng(start))
            request |= filters.tensors
            scores[filters.barred] = LOWEST_FLOAT32
        answer = self._asked(request, case, start)
        worst = 0.0
        for row in range(len(batch)):
            where = f"session {start + row} in the case '{case.name}'"
            codes = np.array(
                [self.reference.code_of(item, where) for item in answer["item_ids"][row].tolist()], dtype=np.int64
            )
            difference, fault = self._ranking(scores[row], codes, answer["scores"][row])
            came, due = answer["status"][row, 0], STATUS_NAMES[status[row]]
            if came != due:
                fault = f"the status is {came}, expected {due}"
            if fault:
                raise _refused(f"{where}: {fault}")
            worst = max(worst, difference)
        return worst

    def _asked(self, request: Mapping[str, np.ndarray], case: Case, start: int) -> Mapping[str, np.ndarray]:
        try:
            return self.answers.ask(request)
        except Exception as error:
            raise _refused(
                f"the request that starts with session {start} in the case '{case.name}' failed with "
                f"{type(error).__name__}: {error}"
            ) from error

    def _ranking(self, true: np.ndarray, codes: np.ndarray, scores: np.ndarray) -> tuple[float, str | None]:
        """As `ranking_difference`, which sorts, of the items alone that come or should: a catalogue is large."""
        difference = ranking_difference if self.stored.scoring == "exact" else approximate_difference
        best = np.argpartition(-true, len(codes))[: len(codes)] if len(codes) < len(true) else np.arange(len(true))
        kept = np.union1d(np.append(best, PADDING), codes)
        worst, fault = difference(true[kept], np.searchsorted(kept, codes), scores)
        return (worst, None) if fault is None else difference(true, codes, scores)


def _refused(what: str) -> ParityError:
    return ParityError(
        f"{what}. The new version does not answer as its tables say, and was not written; the one that answers goes on. Export "
        "the run again, and report what is said here"
    )
