"""Models that count items by rows of their own, and read sessions that are padded in their own way.

A bundle counts items by codes and pads on the right with 0. `by_code` (`retrieval/model.py`) translates codes to rows, and
leaves unknown items out. What stands here moves the others to the places in which the model was trained to find them. Both
are part of the graph.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from nextitem_bundle.runtime.special_ids import FIRST_ITEM

from .._errors import UnsupportedModel
from ..retrieval.module import has_query

PADDINGS = ("right", "left")
#: An integer as Python writes it: "007" and "7.0" are other ids.
_INTEGER = re.compile("0|-?[1-9][0-9]*")
#: Ids that a refusal names.
_SHOWN = 5

#: Rows by raw item id.
RowOf = Mapping[str, int] | Mapping[int, int]


@dataclasses.dataclass(frozen=True)
class Places:
    """Where a module reads the items of a session.

    padding: the side that is padded, `right` or `left`. row: what stands there. width: how many places there are; of longer
    sessions the newest items are read. None: as many as the bundle's window.
    """

    padding: str = "right"
    row: int = 0
    width: int | None = None

    def __post_init__(self) -> None:
        if self.padding not in PADDINGS:
            raise UnsupportedModel(f"unknown padding '{self.padding}', known are {', '.join(PADDINGS)}")
        if self.width is not None and self.width < 1:
            raise UnsupportedModel(f"the window is {self.width}, expected 1 or more items that the model reads")

    def source(self, length: Tensor, window: int) -> tuple[Tensor, Tensor]:
        """For sessions of these lengths, int64 [B, 1], that stand on the left of `window` places.

        Returns which of them stands at each place of the module, int64 [B, W], and whether any does, bool [B, W].
        """
        width = self.width or window
        place = torch.arange(width, device=length.device)
        first = length - width
        source = place + (first if self.padding == "left" else first.clamp(min=0))  # (B, W)
        return source.clamp(0, window - 1), (source >= 0) & (source < length)


class ByRow(nn.Module):
    """A model whose item feature holds its own rows, [B, T] padded on the right with `places.row`, around a module.

    inner: the module, which reads the items in `places`. rows: of its table, by raw item id. item_feature: the workflow's
    output with the items' codes, None until an export binds it.
    """

    def __init__(self, inner: nn.Module, rows: dict[str | int, int], places: Places, item_feature: str | None) -> None:
        super().__init__()
        self.inner: Any = inner
        self.rows = rows
        self.places = places
        self.item_feature = item_feature
        self.feature_names = tuple(getattr(inner, "feature_names", None) or ())
        self.head_widths: Any = getattr(inner, "head_widths", None) or {}

    def bind(self, item_feature: str) -> None:
        """Say which feature holds the items. A module that names no features reads these alone."""
        self.item_feature = item_feature
        self.feature_names = self.feature_names or (item_feature,)

    def read(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The features as the module was trained on them, each [B, W]; what stands beside padding is 0."""
        assert self.item_feature is not None
        items = features[self.item_feature]  # (B, T)
        window = int(items.shape[1])
        if self.places.padding == "right" and self.places.width in (None, window):
            return dict(features)
        length = (items != self.places.row).sum(dim=1, keepdim=True)
        source, filled = self.places.source(length, window)
        moved = {name: torch.where(filled, values.gather(1, source), 0) for name, values in features.items()}
        moved[self.item_feature] = torch.where(filled, moved[self.item_feature], self.places.row)
        return moved

    def values(self, ids: np.ndarray, count: int) -> np.ndarray:
        """What the model reads for each code of the vocabulary, int64 [V]; the special codes have padding's.

        ids: the vocabulary's raw ids, int64 or object array of str. count: of the model's rows. Raises UnsupportedModel where
        an id has no row.
        """
        name = type(self).__name__
        row_of = self._row_of(strings=ids.dtype == object)
        missing = [item for item in ids.tolist() if item not in row_of]
        if missing:
            few = ", ".join(map(repr, missing[:_SHOWN])) + (", …" if len(missing) > _SHOWN else "")
            raise UnsupportedModel(
                f"{len(missing)} of the {len(ids)} items of the workflow's vocabulary have no row in {name} ({few}): fit the "
                "workflow on the interactions with items that the model was trained on, as in "
                "clicks[clicks.item_id.isin(…)], so that others are unknown to both"
            )
        outside = {item: row for item, row in row_of.items() if not 0 <= row < count}
        if outside:
            item, row = next(iter(outside.items()))
            raise UnsupportedModel(
                f"rows gives the item {item!r} the row {row}, and {name} has the rows 0 to {count - 1}: give the rows of this "
                "model"
            )
        return np.array([self.places.row] * FIRST_ITEM + [row_of[item] for item in ids.tolist()], dtype=np.int64)

    def _row_of(self, *, strings: bool) -> dict[str | int, int]:
        """Rows by raw id as the workflow has it: strings, or integers."""
        found: dict[str | int, int] = {}
        for item, row in self.rows.items():
            raw = _converted(item, strings=strings)
            column = f"the raw item column holds {'strings' if strings else 'integers'}"
            if raw is None:
                raise UnsupportedModel(
                    f"rows names the item {item!r}, of type {type(item).__name__}, and {column}: give ids as it has them"
                )
            if raw in found:
                raise UnsupportedModel(
                    f"rows names the item {raw!r} twice, as a string and as a number, and {column}: give each id once"
                )
            found[raw] = row
        return found


class QueryByRow(ByRow):
    """For a module with `query` and `item_table`."""

    def query(self, features: Mapping[str, Tensor]) -> Tensor:
        """float [B, D]."""
        return self.inner.query(self.read(features))

    def query_and_heads(self, features: Mapping[str, Tensor]) -> Any:
        """The query and the heads by name, float [B, N] each."""
        return self.inner.query_and_heads(self.read(features))

    def item_table(self) -> Tensor:
        """float [rows, D]."""
        return self.inner.item_table()


class ScoresByRow(ByRow):
    """For a module that gives scores."""

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        """float [B, rows]."""
        return self.inner(self.read(features))

    def forward_and_heads(self, features: Mapping[str, Tensor]) -> Any:
        """The scores and the heads by name, float [B, N] each."""
        return self.inner.forward_and_heads(self.read(features))


def from_rows(
    module: nn.Module,
    rows: RowOf,
    *,
    padding: str = "right",
    padding_row: int = 0,
    window: int | None = None,
    item_feature: str | None = None,
) -> nn.Module:
    """Adapt a module that counts items by rows of its own for `export_bundle`.

    The module's item feature holds its own rows, and its table or its scores have them in their order. Null and unknown items
    have no row, so the module reads each session without them. Rows that no id has are never recommended.

    Args:
        module: has `query(features) -> float32 [B, D]` and `item_table() -> float32 [rows, D]`, or only
            `forward(features) -> float32 [B, rows]`. Without `feature_names` it reads the items alone: `features` has one
            tensor, int64 [B, W].
        rows: from each raw item id to its row. Ids may be strings of the integers in the raw column, and the reverse.
        padding: the side on which the module's sessions are padded, `right` or `left`. Other features move with the items,
            and are padded with 0.
        padding_row: what stands there. No item may have it: give -1 where the module has no row for padding.
        window: W, the places that the module reads, where padding counts: shorter sessions are padded to it, of longer
            ones the newest items are read. None: those of the bundle's window.
        item_feature: the workflow's output with the items' codes. None: that of `export_bundle`.

    Returns:
        A model for `export_bundle`.

    Raises:
        UnsupportedModel: `rows`, `padding` or `window` is wrong in itself.
    """
    return by_row(module, rows, Places(padding, padding_row, window), type(module).__name__, item_feature)


def by_row(module: nn.Module, rows: RowOf, places: Places, name: str, item_feature: str | None = None) -> ByRow:
    """The same for a module that stands for a model of this name. Raises UnsupportedModel."""
    if not isinstance(module, nn.Module):
        raise UnsupportedModel(f"the model is of type {type(module).__name__}, expected a torch.nn.Module")
    _check(rows, places.row)
    kind = QueryByRow if has_query(module) else ScoresByRow
    named = cast("type[ByRow]", type(name, (kind,), {}))  # what refusals and progress call it
    return named(module, {item: int(row) for item, row in rows.items()}, places, item_feature)


def _check(rows: RowOf, padding_row: int) -> None:
    if not isinstance(rows, Mapping) or not rows:
        raise UnsupportedModel(f"rows is {rows!r}, expected a dict from each raw item id to its row in the model")
    item_of: dict[int, object] = {}
    for item, row in rows.items():
        if isinstance(row, bool) or not isinstance(row, (int, np.integer)):
            raise UnsupportedModel(f"rows gives the item {item!r} the row {row!r}, expected an integer")
        if row == padding_row:
            raise UnsupportedModel(
                f"rows gives the item {item!r} the row {row}, which is the padding_row as well: give the one that the model "
                "was trained on where a session has no interaction, or -1 where it has none"
            )
        if row in item_of:
            raise UnsupportedModel(
                f"rows gives the items {item_of[int(row)]!r} and {item!r} the same row {row}, so that no answer can tell them "
                "apart"
            )
        item_of[int(row)] = item


def _converted(item: object, *, strings: bool) -> str | int | None:
    """An id as the raw column has it, None where no value of the column is the same."""
    if isinstance(item, (bool, np.bool_)):
        return None
    if isinstance(item, (int, np.integer)):
        return str(int(item)) if strings else int(item)
    if isinstance(item, str):
        return str(item) if strings else int(item) if _INTEGER.fullmatch(item) else None
    return None
