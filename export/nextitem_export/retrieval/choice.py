"""What scores the catalogue: exactly, by an int8 scan, or through an index; and how many of the true items come then."""

from __future__ import annotations

import dataclasses
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper

from nextitem_bundle.runtime.features import TOP_K
from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.retrieval import AVAILABILITY, read_availability
from nextitem_bundle.runtime.special_ids import FIRST_ITEM
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.steps import AnnRetrieval, OnnxGraph, write_step
from nextitem_bundle.runtime.steps import Retrieval as Settings

from .._errors import UnsupportedModel
from . import blocks
from .ann import lists_for, write_ann
from .blocks import Groups
from .graph import write_exact, write_int8
from .session_graph import SessionGraph
from .tensors import CODES, RankedItems

#: Items that recall is measured over.
RECALL_AT = 20
_TABLE_BLOCK = 65_536

#: What an int8 look reads of each item, as a share of its width, and the groups beyond one for each item of an answer that are
#: scored exactly behind it, until recall is as asked. Half the columns take half the time, and more groups little.
_LOOKS_INT8 = ((2, 120), (2, 480), (1, 60))


@dataclasses.dataclass(frozen=True)
class Job:
    """A retrieval step to be written.

    session: its part of the graph; names: the inputs. queries: of the sample's sessions that know an item, float32 [S, D]; None
    for a model without queries.
    """

    ranked: RankedItems
    session: SessionGraph
    names: Sequence[str]
    folder: Path
    threads: int
    queries: np.ndarray | None


#: Writes the retrieval step with some effort, 0 the least; returns what step.json says, None where no more effort can be made.
Attempt = Callable[["Job", int], "Settings | AnnRetrieval | None"]


@dataclasses.dataclass(frozen=True)
class Scoring:
    """A way to score.

    attempt: writes it. min_recall: the least recall@20 by default, None for what is exact.
    """

    attempt: Attempt
    min_recall: float | None


def _exact(job: Job, effort: int) -> Settings | None:
    return None if effort else write_exact(job.ranked, job.session, job.names, job.folder, job.queries)


def _int8(job: Job, effort: int) -> Settings | None:
    table = job.ranked.table
    assert table is not None
    further = max(0, effort - len(_LOOKS_INT8) + 1)
    part, more = _LOOKS_INT8[min(effort, len(_LOOKS_INT8) - 1)]
    more *= 2**further
    if further and more // 2 * blocks.GROUP >= len(job.ranked):
        return None
    return write_int8(job.ranked, job.session, job.names, job.folder, Groups(1, more), -(-table.shape[1] // part))


def _ann(job: Job, effort: int) -> AnnRetrieval | None:
    probes = 16 * 2**effort
    if effort and probes // 2 >= lists_for(len(job.ranked) - FIRST_ITEM):
        return None
    return write_ann(job.ranked, job.session, job.names, job.folder, probes, job.threads)


SCORINGS: dict[str, Scoring] = {
    "exact": Scoring(_exact, None),
    "int8-rerank": Scoring(_int8, 0.999),
    "ann": Scoring(_ann, 0.99),
}


@dataclasses.dataclass(frozen=True)
class ScoringChoice:
    """One of SCORINGS by name, and the least recall@20, 0 for that scoring's default.

    first_look: whether an exact scan may look at a large catalogue in 8 bits first, which pays on a CPU alone.
    """

    name: str = "exact"
    min_recall: float = 0.0
    first_look: bool = True


EXACT = ScoringChoice()


def write_scored(
    choice: ScoringChoice,
    ranked: RankedItems,
    session: SessionGraph,
    names: Sequence[str],
    folder: Path,
    sample: Mapping[str, np.ndarray],
    queries: np.ndarray | None,
    threads: int,
) -> None:
    """Write the retrieval step and its step.json with as little effort as the asked recall takes.

    sample: the features of some sessions that know an item, by tensor, [S, T] each. queries: theirs, float32 [S, D], or those
    of other sessions where S is 0; None for a model without them, or where an exact scan must not look at 8 bits first.
    threads: of the step's graph. The folder holds the item index already.
    Raises UnsupportedModel where the model has no query or the recall is not reached.
    """
    scoring = SCORINGS[choice.name]
    if scoring.min_recall is not None and ranked.table is None:
        raise UnsupportedModel(
            f"{ranked.model} gives scores itself, so scoring '{choice.name}' has no table to search: give it "
            "query(features) and item_table(), or export with ExportOptions(scoring='exact')"
        )
    least = choice.min_recall or scoring.min_recall
    job = Job(ranked, session, names, folder, threads, queries)
    recall, effort = 0.0, 0
    while (found := scoring.attempt(job, effort)) is not None:
        settings = dataclasses.replace(found, graph=OnnxGraph(threads))
        write_step(folder, settings)
        if scoring.min_recall is None or least is None:
            return
        recall = _measured_recall(job, sample) if _rows(sample) else _recall_of_queries(job, scoring, effort)
        if recall >= least:
            write_step(folder, dataclasses.replace(settings, recall_at_20=round(recall, 6)))
            return
        effort += 1
    raise UnsupportedModel(
        f"scoring '{choice.name}' finds {recall:.4f} of the true {RECALL_AT} best items of the sample's sessions, expected "
        f"{least} or more: choose ExportOptions(scoring='exact'), or a lower min_recall"
    )


def _rows(sample: Mapping[str, np.ndarray]) -> int:
    return len(next(iter(sample.values())))


def _measured_recall(job: Job, known: Mapping[str, np.ndarray]) -> float:
    """The share of the true RECALL_AT best items, of those that may be recommended, which the written step gives when asked for
    no more.
    """
    table = job.ranked.table
    assert table is not None
    assert job.queries is not None
    available = read_availability(job.folder / AVAILABILITY, ItemIndex.load(job.folder))
    k = min(RECALL_AT, job.ranked.k, int(available[FIRST_ITEM:].sum()))
    if not len(job.queries) or not k:
        return 1.0
    true = true_best(job.queries, table, k, available)
    step = open_step(job.folder)
    none = dict.fromkeys(job.names[len(known) :][:2], np.zeros((1, 64), dtype=np.int64))
    wanted = {TOP_K: np.array([k])}
    given = [
        step.run({**{name: values[row : row + 1] for name, values in known.items()}, **none, **wanted})[CODES][0]
        for row in range(len(true))
    ]
    hits = [len(np.intersect1d(right, codes[:k])) for right, codes in zip(true, given, strict=True)]
    return float(np.mean(hits) / k)


def _recall_of_queries(job: Job, scoring: Scoring, effort: int) -> float:
    """The same where there are queries without the sessions that they were made of: they are asked in a step of their own."""
    table = job.ranked.table
    assert table is not None
    assert job.queries is not None
    asked, items, tensor = "asked", "items", helper.make_tensor_value_info
    session = dataclasses.replace(
        job.session,
        inputs=[
            tensor(asked, TensorProto.FLOAT, ["B", table.shape[1]]),
            tensor(items, TensorProto.INT64, ["B", "T"]),
        ],
        nodes=[],
        weights={},
        result=asked,
        heads=(),
        table=None,
    )
    ranked = dataclasses.replace(job.ranked, features=(asked, items), item_feature=items, heads=())
    with tempfile.TemporaryDirectory(dir=job.folder.parent) as place:
        folder = Path(place)
        shutil.copytree(job.folder, folder, dirs_exist_ok=True, ignore=shutil.ignore_patterns("table_*", "model.onnx"))
        direct = Job(ranked, session, [asked, items, *job.names[-3:]], folder, job.threads, job.queries)
        settings = scoring.attempt(direct, effort)
        assert settings is not None, "the same effort was made for the step itself"
        write_step(folder, dataclasses.replace(settings, graph=OnnxGraph(job.threads)))
        codes = np.full((len(job.queries), 1), FIRST_ITEM, dtype=np.int64)
        return _measured_recall(direct, {asked: job.queries, items: codes})


def true_best(queries: np.ndarray, table: np.ndarray, k: int, available: np.ndarray | None = None) -> np.ndarray:
    """The codes of the k best items of each query, int64 [S, k], best first: queries [S, D], table [V, D].

    available: the items that count, bool [V], k at least; None: all.
    """
    blocks_of_best = _best_of_blocks(queries, table, k, available)
    codes, scores = (np.concatenate(parts, axis=1) for parts in zip(*blocks_of_best, strict=True))
    order = np.lexsort((codes, -scores), axis=1)[:, :k]
    return np.take_along_axis(codes, order, 1)


def _best_of_blocks(
    queries: np.ndarray, table: np.ndarray, k: int, available: np.ndarray | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for start in range(FIRST_ITEM, len(table), _TABLE_BLOCK):
        scores = queries @ table[start : start + _TABLE_BLOCK].T
        if available is not None:
            scores[:, ~available[start : start + _TABLE_BLOCK]] = -np.inf
        best = np.argpartition(-scores, min(k, scores.shape[1] - 1), axis=1)[:, :k]
        yield start + best, np.take_along_axis(scores, best, 1)
