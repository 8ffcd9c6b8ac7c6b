"""The retrieval step: the session model's graph, and the list of items that operators keep from being recommended."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from ..item_index import ItemIndex
from ..queued import queued
from ..request import Array
from ..special_ids import FIRST_ITEM, PENALTY, UNKNOWN
from ..step import OwnProcess, Step, open_settings
from ..steps import Ranking
from ..steps import Retrieval as Settings

AVAILABILITY = "availability.json"


class AvailabilityError(ValueError):
    """The availability list cannot be read; the message says what came and what is expected."""


class Retrieval:
    """Adds the constants, arrays by name that are no part of a request, to the features that its graph ranks by.

    One that is among the tensors all the same, such as the number of items that are wanted, counts there.
    """

    def __init__(self, graph: Any, constants: Mapping[str, Array]) -> None:
        self._graph = graph
        self.constants = dict(constants)
        self.inputs = tuple(given for given in graph.inputs if given not in self.constants)
        self.outputs = tuple(graph.outputs)

    def run(self, tensors: Mapping[str, Array]) -> dict[str, Array]:
        """Codes, scores and status, see the exporter's `Retrieval`."""
        return self._graph.run({**self.constants, **tensors})


def _mask(available: Array, _: Ranking) -> Array:
    return filled_up(available, len(available))


def _bias(available: Array, ranking: Ranking) -> Array:
    """What is added to the scores: float32 [rows], minus infinity for what is not available."""
    return np.where(filled_up(available, ranking.rows), np.float32(0), np.float32(-np.inf))


def _penalty(available: Array, ranking: Ranking) -> Array:
    """What is added to the sums of the int8 scan: int32 [rows], lower than any of them for what is not available."""
    return np.where(filled_up(available, ranking.rows), np.int32(0), np.int32(PENALTY))


def _limited(available: Array, _: Ranking) -> Array:
    """Whether any item is not available, bool [1]."""
    return np.array([not available[FIRST_ITEM:].all()])


def _most(_: Array, ranking: Ranking) -> Array:
    """How many items are ranked where the request's number is not known yet, int64 [1]."""
    return np.array([ranking.k], dtype=np.int64)


#: What graphs read beside a request, made of what is available, bool [V], and step.json, by the names in its "constants".
_FORMS = {"mask": _mask, "bias": _bias, "penalty": _penalty, "limited": _limited, "most": _most}


def filled_up(available: Array, rows: int) -> Array:
    """Bool [rows]: the special codes are no items, and what only fills up the table is not available."""
    filled = np.zeros(rows, dtype=bool)
    filled[FIRST_ITEM : len(available)] = available[FIRST_ITEM:]
    return filled


def read_availability(path: Path, index: ItemIndex) -> Array:
    """bool [V], which items may be recommended, from `{"unavailable": [ids]}` or `{"available": [ids]}`.

    An id that is not in the catalogue stands for nothing, and a code that no item of it has is never available. Raises
    AvailabilityError.
    """
    if not path.exists():
        return index.listed
    try:
        document: Any = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise AvailabilityError(f"{path} cannot be read: {error.strerror}") from None
    except (ValueError, RecursionError) as error:
        raise AvailabilityError(f"{path} is no JSON: {error}") from None
    lists = cast(dict[str, Any], document if isinstance(document, dict) else {})
    if list(lists) not in (["available"], ["unavailable"]) or not isinstance(next(iter(lists.values())), list):
        raise AvailabilityError(
            f'{path} must hold {{"unavailable": [raw item ids]}} or {{"available": [raw item ids]}}, and one of them alone'
        )
    ((kind, ids),) = lists.items()
    codes = index.codes(_ids(path, ids, index.of_strings))
    named = np.zeros(index.cardinality, dtype=bool)
    named[codes[codes != UNKNOWN]] = True
    return named if kind == "available" else index.listed & ~named


def _ids(path: Path, ids: list[Any], strings: bool) -> Array:
    expected = str if strings else int
    wrong = [value for value in ids if type(value) is not expected]
    if wrong:
        raise AvailabilityError(
            f"{path} lists {repr(wrong[0])[:100]}, expected {'strings' if strings else 'integers'}, as the raw item ids are"
        )
    # A number beyond INT64 is no item's.
    return np.array(ids, dtype=np.object_) if strings else np.array([i for i in ids if _is_int64(i)], dtype=np.int64)


def _is_int64(value: int) -> bool:
    return -(2**63) <= value < 2**63


def read_constants(folder: Path, ranking: Ranking, index: ItemIndex) -> dict[str, Array]:
    """What the retrieval step's graph takes beside a request; the availability list lies in the folder."""
    available = read_availability(folder / AVAILABILITY, index)
    return {name: _FORMS[form](available, ranking) for name, form in ranking.constants.items()}


def open_step(folder: Path, settings: Settings, own: OwnProcess | None = None) -> Step:
    """Open the step of this folder; its availability list is read here, so when Triton loads the model."""
    constants = read_constants(folder, settings.ranking, ItemIndex.load(folder))
    return queued(Retrieval(open_settings(folder, settings.graph, own), constants), settings.queue)
