"""The items of a workflow: their codes in the bundle, their raw ids, and the values that the model knows them by.

Everything between the features step and the answer counts in codes: 0 padding, 1 null, 2 unknown, then the items. The model
reads what its workflow gives, and has its rows in that order. Both are the same where Categorify is the last that touches the
item column. Where a function follows, or where raw ids are the model's rows, they are not, and `ItemValues` says what is what.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from nextitem_bundle.runtime.item_index import ItemIndex
from nextitem_bundle.runtime.special_ids import FIRST_ITEM, NULL, PADDING, UNKNOWN
from nextitem_bundle.runtime.wire import NULL_INT64

from .._errors import UnsupportedWorkflow
from .fitted import FittedWorkflow, Vocabulary
from .item_probe import ItemProbe

#: Known ids of which look-alikes are asked, and what is far from all of them.
_LIKE = 100
_BEYOND = (1, 7, 1_000_003)


@dataclasses.dataclass(frozen=True)
class ItemValues:
    """What the model reads for each code.

    by_code: int64 [V], the item feature's value. known_alone: null and unknown items have no value, so that the model reads
    sessions without them; by_code has padding's for them.
    """

    by_code: np.ndarray
    known_alone: bool = False

    @property
    def are_codes(self) -> bool:
        """Whether the model reads the codes as they are."""
        return not self.known_alone and np.array_equal(self.by_code, np.arange(len(self.by_code)))

    def keys(self) -> tuple[np.ndarray, np.ndarray]:
        """Values and the code beside each, int64; what is not among them is unknown."""
        values, codes = self.by_code[FIRST_ITEM:], np.arange(FIRST_ITEM, len(self.by_code))
        null = NULL_INT64 if self.known_alone else self.by_code[NULL]
        if null in (self.by_code[UNKNOWN], self.by_code[PADDING]):  # NVTabular's output does not say which it was
            return values, codes
        return np.append(values, null), np.append(codes, NULL)

    def index(self) -> ItemIndex:
        """The same, sorted, for the runtime."""
        values, codes = self.keys()
        order = np.argsort(values)
        return ItemIndex(values[order], codes[order])

    def check_rows(self, rows: int, feature: str, model: str) -> None:
        """Raise UnsupportedWorkflow if the model's table, of so many rows, lacks that of a value other than padding's."""
        outside = (self.by_code < 0) | (self.by_code >= rows)
        outside &= self.by_code != self.by_code[PADDING]
        if outside.any():
            code = int(np.flatnonzero(outside)[0])
            what = {NULL: "null", UNKNOWN: "an unknown item"}.get(code, f"the item with code {code}")
            raise UnsupportedWorkflow(
                f"the workflow gives {what} the value {self.by_code[code]} in '{feature}', and {model} has the rows 0 to "
                f"{rows - 1}: use the workflow that the model was trained with, or clip the values that are no items"
            )


def fitted_items(fitted: FittedWorkflow, probe: ItemProbe, padding: int) -> tuple[Vocabulary, ItemValues]:
    """The vocabulary behind an output that a Categorify encodes, and the items' values.

    padding: what the model reads where a session has no interaction. Raises UnsupportedWorkflow where items could not be told
    apart, or an id would count as another item.
    """
    feature, column = probe.feature, probe.column
    vocabulary = fitted.vocabulary(feature)
    if vocabulary.column != column:
        raise UnsupportedWorkflow(
            f"'{feature}' encodes the raw column '{vocabulary.column}', not '{column}': give the item_feature that encodes "
            f"'{column}', and rename columns after Categorify"
        )
    ids = vocabulary.values
    if (ids.dtype == object) != probe.of_strings:
        raise UnsupportedWorkflow(
            f"the vocabulary of '{column}' holds {'strings' if ids.dtype == object else 'integers'}, the raw column "
            f"{'strings' if probe.of_strings else 'numbers'}: change the column's type before the workflow"
        )
    found, unknown = probe.values(ids), probe.unknown()
    null = probe.null(ids[0]) if len(ids) else None
    values = ItemValues(np.array([padding, unknown if null is None else null, unknown, *found]))
    faults = _Faults(f"'{feature}' ({fitted.changed_by(feature)} on '{column}')", ids, found)
    faults.refuse_twice()
    for what, value in (("an unknown item", unknown), ("null", null), ("padding", padding)):
        faults.refuse_shared(what, value)
    others = _not_among(np.concatenate([_look_alikes(ids), probe.sample_ids()]), ids)
    faults.refuse_others(others, probe.values(others))
    return vocabulary, values


def items_as_is(fitted: FittedWorkflow, probe: ItemProbe, padding: int, rows: int) -> tuple[Vocabulary, ItemValues]:
    """The same for raw ids that are the model's rows, or these by a constant less or more; all but padding's row are items.

    rows: of the model. The interactions of the sample are all that is known of popularity.
    """
    feature, column = probe.feature, probe.column
    if fitted.encodes(feature):
        raise UnsupportedWorkflow(
            f"a Categorify encodes '{feature}', and item_codes 'as-is' is for raw ids that are the model's rows: leave "
            "item_codes "
            "away"
        )
    if probe.kind != "integer" or not len(probe.sample_ids()):
        raise UnsupportedWorkflow(
            f"item_codes 'as-is' needs the model's rows as raw ids, but '{column}' is of the kind {probe.kind} and the "
            "sample has "
            f"{len(probe.sample_ids())} items: encode the column with ops.Categorify(), name it int64 in raw_dtypes where null "
            "made it float, or give a sample with items"
        )
    some = probe.sample_ids()
    where = f"'{feature}' ({fitted.changed_by(feature) or 'nothing'} on '{column}')"
    shift = _shift(probe, some, where)
    values = np.arange(rows)
    values = values[values != padding]
    ids = values - shift
    if padding - shift in some:
        raise UnsupportedWorkflow(
            f"the sample has the item {padding - shift}, whose value in '{feature}' is {padding}, and by item_padding "
            f"{padding} "
            "that is no item: give the value that the model was trained on where a session has no interaction"
        )
    if not np.isin(some, ids).any():
        raise UnsupportedWorkflow(
            f"no item of the sample is a row of the model, which has {rows}: '{column}' holds {some[:3].tolist()} …; "
            "encode the "
            "column with ops.Categorify(), or export the model that was trained with these ids"
        )
    faults = _Faults(where, ids, values)
    faults.refuse_others(ids, probe.values(ids), same=True)
    others = _not_among(_around(ids), ids)
    faults.refuse_others(others, probe.values(others))
    by_code = np.concatenate([np.full(FIRST_ITEM, padding), values])
    return Vocabulary(column, ids, probe.counts(ids)), ItemValues(by_code, known_alone=True)


def _shift(probe: ItemProbe, ids: np.ndarray, where: str) -> int:
    shifts = np.unique(probe.values(ids) - ids)
    if len(shifts) > 1:
        raise UnsupportedWorkflow(
            f"{where} is the raw id and {shifts[0]} for one item, and the raw id and {shifts[-1]} for another; "
            "item_codes 'as-is' "
            "knows one shift for all: map the ids before the workflow"
        )
    return int(shifts[0])


class _Faults:
    """Refusals of an item feature, `where`, that holds `values` for `ids`."""

    def __init__(self, where: str, ids: np.ndarray, values: np.ndarray) -> None:
        self._where, self._ids, self._values = where, ids, values

    def refuse_twice(self) -> None:
        """Two items of one value."""
        kept, counts = np.unique(self._values, return_counts=True)
        twice = kept[counts > 1]
        if len(twice):
            one, other = self._ids[self._values == twice[0]][:2]
            self._refuse(
                f"gives the items {one!r} and {other!r} the same value {twice[0]}, so that no answer can tell them apart"
            )

    def refuse_shared(self, what: str, value: int | None) -> None:
        """An item of the value that something else has."""
        if value is not None and value in self._values:
            item = self._ids[self._values == value][0]
            self._refuse(f"gives the item {item!r} the value {value}, which is that of {what} as well")

    def refuse_others(self, others: np.ndarray, values: np.ndarray, *, same: bool = False) -> None:
        """Ids outside of the catalogue with an item's value; with `same`, items of another value than their own."""
        wrong = values != self._values if same else np.isin(values, self._values)
        if wrong.any():
            at = int(np.flatnonzero(wrong)[0])
            item = self._ids[self._values == values[at]]
            instead = f"the value {values[at]}" + (f", that of the item {item[0]!r}" if len(item) else "")
            self._refuse(f"gives the id {others[at]!r} {instead}: what is answered, or filtered, would be another item")

    def _refuse(self, what: str) -> None:
        raise UnsupportedWorkflow(
            f"{self._where} {what}: take the function out of the item's way, or apply it before the workflow and send "
            "its result"
        )


def _not_among(others: np.ndarray, ids: np.ndarray) -> np.ndarray:
    known = set(ids.tolist())  # numpy would sort the catalogue's strings, which takes long
    return np.array([*(other for other in others.tolist() if other not in known), None], dtype=object)[:-1].astype(
        ids.dtype
    )


def _look_alikes(ids: np.ndarray) -> np.ndarray:
    """Ids that a function before the Categorify might take for known ones."""
    some = ids[np.unique(np.linspace(0, len(ids) - 1, _LIKE).astype(int))] if len(ids) else ids
    if ids.dtype != object:
        return _around(some)
    turned = [
        other
        for item in some.tolist()
        for other in (item.lower(), item.upper(), item.strip(), f" {item}", f"{item} ", f"{item}0", item[:-1], item[1:])
        if other
    ]
    return np.array([*turned, None], dtype=object)[:-1]


def _around(ids: np.ndarray) -> np.ndarray:
    """Integers near these and far from them, as far as int64 goes; never null."""
    low, high = int(ids.min(initial=0)), int(ids.max(initial=0))
    far = [value for step in _BEYOND for value in (low - step, high + step)]
    near = [other for item in ids[:_LIKE].tolist() for other in (item - 1, item + 1, -item, item * 10, item // 10)]
    limits = np.iinfo(np.int64)
    return np.array([value for value in (*far, *near) if limits.min < value < limits.max - 10], dtype=np.int64)
