"""The retrieval step for `--scoring ann`: the session model's graph, a faiss index for candidates, and their exact scores.

What a request filters acts inside the search, as faiss's selector of items. Allow lists, which are short, and answers for which
the index finds too few items are scored exactly, by reading the mapped table.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..item_index import ItemIndex
from ..queued import queued
from ..request import Array
from ..special_ids import COLD, EMPTY, FIRST_ITEM, OK, PADDING
from ..step import OwnProcess, Step, open_settings
from ..steps import AnnRetrieval as Settings
from ..wire import LOWEST_FLOAT32
from . import AVAILABILITY, filled_up, read_availability

#: Items of the table that are scored at a time where all are.
_BLOCK = 65_536

#: Excluded items that a search finds and leaves out afterwards; more are kept from being found.
_FEW = 64


class AnnRetrieval:
    """Answers as the exporter's `Retrieval` does, but for the items that the index does not find.

    available: bool [V].
    """

    def __init__(self, folder: Path, settings: Settings, available: Array, own: OwnProcess | None) -> None:
        self._query = open_settings(folder, settings.graph, own)
        self._table = np.load(folder / settings.table, mmap_mode="r", allow_pickle=False)
        self._popularity = np.load(folder / settings.popularity, mmap_mode="r", allow_pickle=False)
        self._k = settings.k
        self._candidates = settings.candidates
        self._excluded, self._allowed = settings.filters
        self._available = available
        self._index = _Index(folder / settings.index, settings.probes, available, settings.graph.threads)
        # Equal shares stand by code, as everywhere.
        order = np.argsort(-np.asarray(self._popularity), kind="stable")
        self._popular = order[available[order]]
        self.constants: dict[str, Array] = {}
        self.inputs = (*self._query.inputs, self._excluded, self._allowed)
        self._answers = settings.outputs
        self._heads = settings.heads
        self.outputs = (*self._answers, *self._heads)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Codes int64 [B, K], scores float32 [B, K], status int32 [B, 1] and each further head, float32 [B, N]."""
        asked = self._query.run(tensors)
        queries, newest = asked["query"], asked["newest"][:, 0]
        rows = len(queries)
        codes = np.full((rows, self._k), PADDING, dtype=np.int64)
        scores = np.full((rows, self._k), LOWEST_FLOAT32, dtype=np.float32)
        for row in range(rows):
            query = queries[row] if newest[row] >= FIRST_ITEM else None
            excluded, allowed = _each_once(tensors[self._excluded][row]), _each_once(tensors[self._allowed][row])
            found, values = self._best(query, excluded, allowed[allowed != PADDING])
            codes[row, : len(found)], scores[row, : len(found)] = found, values
        status = np.where(newest >= FIRST_ITEM, OK, np.where(newest == PADDING, EMPTY, COLD)).astype(np.int32)
        ranked = dict(zip(self._answers, (codes, scores, status[:, None]), strict=True))
        return ranked | {name: asked[name] for name in self._heads}

    def _best(self, query: Array | None, excluded: Array, allowed: Array) -> tuple[Array, Array]:
        """The best codes and their scores, K at most; query None for a session without a known item."""
        if len(allowed):
            kept = allowed[self._available[allowed] & ~np.isin(allowed, excluded)]
            return self._ranked(query, kept)
        if query is None:
            most = self._popular[: self._k + len(excluded)]
            return self._ranked(None, np.sort(most[~np.isin(most, excluded)]))
        left = len(self._popular) - int(self._available[excluded].sum())
        found = self._index.search(query, self._candidates, excluded)
        if len(found) < min(self._k, left):
            return self._exact(query, excluded)
        return self._ranked(query, found)

    def _ranked(self, query: Array | None, codes: Array) -> tuple[Array, Array]:
        """The best of rising codes, equal scores in their order."""
        values = self._popularity[codes] if query is None else self._table[codes] @ query
        order = np.argsort(-values, kind="stable")[: self._k]
        order = order[values[order] > LOWEST_FLOAT32]
        return codes[order], values[order]

    def _exact(self, query: Array, excluded: Array) -> tuple[Array, Array]:
        """The best of all items, block by block."""
        kept = self._available.copy()
        kept[excluded] = False
        best: list[Array] = []
        for start in range(0, len(kept), _BLOCK):
            codes = start + np.flatnonzero(kept[start : start + _BLOCK])
            best.append(self._ranked(query, codes)[0])
        return self._ranked(query, np.sort(np.concatenate(best)))


def _each_once(codes: Array) -> Array:
    """Rising."""
    found: Array = np.unique(codes)  # pyright: ignore[reportUnknownMemberType]
    return found


class _Index:
    """A faiss index over codes, searched with a bitmap of the items that may come."""

    def __init__(self, path: Path, probes: int, available: Array, threads: int) -> None:
        try:
            self._faiss: Any = importlib.import_module("faiss")
        except ImportError as error:
            raise ImportError(
                "this bundle was exported with --scoring ann and needs faiss, which is not installed here: "
                "pip install faiss-cpu, or export with --scoring exact or int8-rerank"
            ) from error
        self._faiss.omp_set_num_threads(threads)
        # The lists stay in the file, which processes share.
        self._index: Any = self._faiss.read_index(str(path), self._faiss.IO_FLAG_MMAP | self._faiss.IO_FLAG_READ_ONLY)
        # By default each search starts threads that read ahead, which takes longer than the search.
        self._faiss.downcast_InvertedLists(self._index.invlists).prefetch_nthread = 0
        self._probes = probes
        self._parameters: Any = self._faiss.SearchParametersIVF(nprobe=probes)
        self._all = bool(available[FIRST_ITEM:].all())
        self._available = np.packbits(available, bitorder="little")
        self._length = len(available)

    def search(self, query: Array, count: int, excluded: Array) -> Array:
        """Codes of up to `count` items near a query, rising; none that is excluded or not available."""
        if self._all and len(excluded) <= _FEW:
            # A selector is asked about every item that is read: a few more candidates cost less.
            _, found = self._index.search(query[None], count + len(excluded), params=self._parameters)
            codes: Array = np.sort(found[0])
            return codes[(codes >= 0) & ~np.isin(codes, excluded)]
        kept = self._available.copy()
        np.bitwise_and.at(kept, excluded >> 3, ~(1 << (excluded & 7)).astype(np.uint8))
        selector = self._faiss.IDSelectorBitmap(self._length, self._faiss.swig_ptr(kept))
        parameters = self._faiss.SearchParametersIVF(nprobe=self._probes, sel=selector)
        _, found = self._index.search(query[None], count, params=parameters)
        codes = np.sort(found[0])
        return codes[codes >= 0]


def open_step(folder: Path, settings: Settings, own: OwnProcess | None = None) -> Step:
    """Open the step of this folder; its availability list is read here, so when Triton loads the model."""
    available = read_availability(folder / AVAILABILITY, ItemIndex.load(folder))
    return queued(AnnRetrieval(folder, settings, filled_up(available, len(available)), own), settings.queue)
