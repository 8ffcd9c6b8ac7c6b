"""Random filters for the sessions of a request, and what they bar: worked out id by id, without the runtime's code."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.codes import FIRST_ITEM
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

#: Ids in one list at most.
LISTED = 40


@dataclasses.dataclass(frozen=True)
class Filters:
    """tensors: the optional tensors of the request. barred: bool [B, V], what must not come back."""

    tensors: dict[str, np.ndarray]
    barred: np.ndarray


def draw_filters(
    sessions: Sequence[pd.DataFrame], item_column: str, catalogue: np.ndarray, random: np.random.Generator
) -> Filters:
    """Lists of known ids, unknown ones and nulls for each session; some sessions have none.

    catalogue: raw ids [V - 3] by code from 3, int64 or object array of str.
    """
    excluded = [_ids(catalogue, random) for _ in sessions]
    allowed = [_ids(catalogue, random) if random.random() < 0.5 else [] for _ in sessions]
    seen = random.random(len(sessions)) < 0.5
    barred = np.zeros((len(sessions), FIRST_ITEM + len(catalogue)), dtype=bool)
    code_of = {item: code for code, item in enumerate(catalogue.tolist(), FIRST_ITEM)}
    null = NULL_STRING if catalogue.dtype == object else NULL_INT64
    for row, session in enumerate(sessions):
        rule = [item for item in allowed[row] if item != null]
        if rule:
            barred[row] = True
            barred[row, [code_of[item] for item in rule if item in code_of]] = False
        out = [*excluded[row], *(session[item_column].dropna().tolist() if seen[row] else [])]
        barred[row, [code_of[item] for item in out if item in code_of]] = True
    tensors = {
        "exclude_item_ids": _tensor(excluded, null, catalogue.dtype),
        "allow_item_ids": _tensor(allowed, null, catalogue.dtype),
        "exclude_seen": seen[:, None],
    }
    return Filters(tensors, barred)


def _ids(catalogue: np.ndarray, random: np.random.Generator) -> list[Any]:
    strings = catalogue.dtype == object
    unknown = ["not in the catalogue ☃"] if strings else [int(np.iinfo(np.int64).max) - 11]
    null = [NULL_STRING if strings else NULL_INT64]
    known = random.choice(catalogue, random.integers(0, LISTED)).tolist() if len(catalogue) else []
    return random.permutation(np.array([*known, *unknown, *null], dtype=catalogue.dtype)).tolist()


def _tensor(lists: list[list[Any]], null: Any, dtype: Any) -> np.ndarray:
    width = max(1, *(len(ids) for ids in lists), 0)
    rows = np.full((len(lists), width), null, dtype=dtype)
    for row, ids in enumerate(lists):
        rows[row, : len(ids)] = ids
    if rows.dtype == object:
        return np.array([[item.encode() for item in row] for row in rows], dtype=object).reshape(rows.shape)
    return rows
