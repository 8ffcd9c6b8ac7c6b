"""What the built items step calls each code, and what NVTabular itself gives for the ids that it says.

The reference for items: it reads no vocabulary and nothing that the exporter worked out of one, so that a code that is shifted
or renamed on the way cannot look right on both sides.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, PADDING, UNKNOWN
from nextitem_bundle.runtime.step import open_step
from nextitem_bundle.runtime.wire import NULL_INT64, NULL_STRING

from .._errors import ParityError
from ..graphs import id_decoder
from ..workflow.item_probe import ItemProbe


@dataclasses.dataclass(frozen=True)
class ModelRows:
    """The rows of a model that counts items in its own way, by raw id, and what it reads where there is no item."""

    row_of: Mapping[str | int, int]
    padding: int

    def of(self, item: str | int) -> int:
        """The row of a raw id, which may be named by the string or the number that it also is. Raises ParityError."""
        for name in (item, str(item), int(item) if isinstance(item, str) and item.lstrip("-").isdecimal() else item):
            if name in self.row_of:
                return self.row_of[name]
        raise ParityError(
            f"the items step has the item {item!r}, for which no row was given. The bundle was not written"
        )


class ItemReference:
    """ids: raw ids [V] by code as the bundle answers them, null for the special codes, int64 or object array of str.

    padding: what the model was trained on where a session has no interaction. known_alone: it has no value for null and unknown
    items, and reads sessions without them. model_rows: of a model that reads rows of its own in place of NVTabular's values,
    likewise without null and unknown items. Raises ParityError where an id stands twice, or null stands among the items.
    """

    def __init__(
        self,
        ids: np.ndarray,
        probe: ItemProbe,
        *,
        padding: int = 0,
        known_alone: bool = False,
        model_rows: ModelRows | None = None,
    ) -> None:
        self.ids = ids
        self.code_of = {item: code for code, item in enumerate(ids[FIRST_ITEM:].tolist(), FIRST_ITEM)}
        null = NULL_STRING if ids.dtype == object else NULL_INT64
        if len(self.code_of) != len(ids) - FIRST_ITEM or null in self.code_of:
            raise ParityError(
                f"the items step has {len(self.code_of)} different ids for {len(ids) - FIRST_ITEM} items. The bundle "
                "was not written"
            )
        self._known_alone = known_alone
        self._feature = probe.feature
        values = probe.values(ids[FIRST_ITEM:])
        null_value, unknown = padding, padding
        if not known_alone:
            unknown = probe.unknown()
            known = ids[FIRST_ITEM] if len(values) else None
            null_value = probe.null(known)
        self._by_code = np.array(
            [padding, unknown if null_value is None else null_value, unknown, *values], dtype=np.int64
        )
        self._order = np.argsort(values)
        self._sorted = values[self._order]
        self._model_reads, self._model_reads_known = self._by_code, known_alone
        if model_rows is not None:
            rows = [model_rows.of(item) for item in ids[FIRST_ITEM:].tolist()]
            self._model_reads = np.array([model_rows.padding] * FIRST_ITEM + rows, dtype=np.int64)
            self._model_reads_known = True

    @classmethod
    def read(
        cls,
        folder: Path,
        cardinality: int,
        probe: ItemProbe,
        *,
        padding: int = 0,
        known_alone: bool = False,
        model_rows: ModelRows | None = None,
    ) -> ItemReference:
        """Ask the items step in this folder for all of its V codes."""
        asked = {
            id_decoder.CODES: np.arange(cardinality)[None],
            id_decoder.SCORES: np.zeros((1, cardinality), dtype=np.float32),
            id_decoder.STATUS: np.zeros((1, 1), dtype=np.int32),
            id_decoder.TOP_K: np.array([[cardinality]]),
        }
        ids = open_step(folder).run(asked)["item_ids"][0]
        if len(ids) != cardinality:
            raise ParityError(
                f"the items step gives {len(ids)} ids for {cardinality} codes. The bundle was not written"
            )
        return cls(ids, probe, padding=padding, known_alone=known_alone, model_rows=model_rows)

    def codes(self, values: np.ndarray, length: int | None = None) -> np.ndarray:
        """int64 [N]: the codes that a session has whose feature holds these values in NVTabular's output.

        length: of the session; behind it is what a ListSlice pads with.
        """
        if length is not None and len(values) > length:
            padded = np.where(values[length:] == self._by_code[PADDING], PADDING, UNKNOWN)
            return np.concatenate([self.codes(values[:length]), padded])
        codes = np.where((values == self._by_code[NULL]) & (not self._known_alone), NULL, UNKNOWN)
        codes[values == self._by_code[UNKNOWN]] = UNKNOWN
        if len(self._sorted):
            place = np.minimum(np.searchsorted(self._sorted, values), len(self._sorted) - 1)
            codes = np.where(self._sorted[place] == values, self._order[place] + FIRST_ITEM, codes)
        return codes

    def fault(self, ids: pd.Series, values: np.ndarray) -> str | None:
        """What is wrong with the values that NVTabular gives for a session of these raw ids; None where all is well.

        values: the newest where the workflow slices; behind as many as there are ids is what it pads with.
        """
        values = values[: len(ids)]
        codes = self.codes(values)
        if not self._known_alone:
            strange = (codes < FIRST_ITEM) & ~np.isin(values, self._by_code[[NULL, UNKNOWN]])
            if strange.any():
                return f"NVTabular gives the value {values[strange][0]}, which no item of the bundle has"
        if len(ids) == len(values):
            due = sorted(self.code_of[item] for item in ids.dropna().tolist() if item in self.code_of)
            came = sorted(codes[codes >= FIRST_ITEM].tolist())
            if due != came:
                return (
                    f"its items are {self.ids[due].tolist()}, by NVTabular's values they are {self.ids[came].tolist()}"
                )
        return None

    def read_by_model(self, features: Mapping[str, np.ndarray], item_feature: str) -> dict[str, np.ndarray]:
        """A session's features as the model was trained on them, from those that hold codes, [T] each, padded on the right."""
        codes = features[item_feature]
        kept = {name: values.copy() for name, values in features.items()}
        if self._model_reads_known:
            known = np.flatnonzero(codes >= FIRST_ITEM)
            for name, values in features.items():
                kept[name] = np.zeros_like(values)
                kept[name][: len(known)] = values[known]
        kept[item_feature] = self._model_reads[kept[item_feature]]
        return kept

    def by_code(self, scores: np.ndarray) -> np.ndarray:
        """The model's scores [B, rows] as [B, V]; those of the special codes mean nothing.

        Raises ParityError where the model has no row for an item.
        """
        rows = self._model_reads.copy()
        rows[:FIRST_ITEM] = PADDING
        if rows.max() >= scores.shape[1] or rows.min() < 0:
            raise ParityError(
                f"NVTabular gives values up to {rows.max()} in '{self._feature}', and the model has {scores.shape[1]} "
                "rows. The "
                "bundle was not written"
            )
        return scores[:, rows]
