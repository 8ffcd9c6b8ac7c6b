"""The filters of a request and what they bar, worked out on raw ids by the contract's words alone."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np

from serving_tests.support.encoding import encode_ids

#: One list of raw ids per session, None for null; or None where the tensor is not sent.
Lists = Sequence[Sequence[Any]] | None


@dataclasses.dataclass(frozen=True)
class Filters:
    """What B sessions exclude and allow, and which of them exclude what they saw."""

    excluded: Lists = None
    allowed: Lists = None
    seen: Sequence[bool] | None = None

    def tensors(self, null: str | int) -> dict[str, np.ndarray]:
        """The optional tensors of the request. null: the item column's."""
        lists = {"exclude_item_ids": self.excluded, "allow_item_ids": self.allowed}
        tensors = {name: encode_ids(rows, null) for name, rows in lists.items() if rows is not None}
        if self.seen is not None:
            tensors["exclude_seen"] = np.array(self.seen, dtype=bool)[:, None]
        return tensors

    def barred(self, catalogue: np.ndarray, sessions: Sequence[Sequence[Any]]) -> np.ndarray:
        """bool [B, V], the items that must not come back. catalogue: raw ids [V] by code; sessions: the ids sent."""
        barred = np.zeros((len(sessions), len(catalogue)), dtype=bool)
        for row, sent in enumerate(sessions):
            rule = {item for item in (self.allowed[row] if self.allowed else []) if item is not None}
            if rule:
                barred[row] = ~_among(catalogue, rule)
            out = {*(self.excluded[row] if self.excluded else []), *(sent if self.seen and self.seen[row] else [])}
            barred[row] |= _among(catalogue, out)
        return barred


def _among(catalogue: np.ndarray, ids: set[Any]) -> np.ndarray:
    return np.fromiter((item in ids for item in catalogue.tolist()), dtype=bool, count=len(catalogue))
