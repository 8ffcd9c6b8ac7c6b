"""What a table of items changes in a catalogue: the new tables, and what was added, changed and removed.

Codes are only added. An item that is removed keeps its code, and its id stays in the tables, marked. Where the item comes back
it has its old code: one id never has two codes, and what training learnt of the item counts again.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from nextitem_bundle.runtime.special_ids import FIRST_ITEM

from .._errors import CatalogueError
from .reading import TypedItems, array_of

if TYPE_CHECKING:
    from .tables import Tables

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none

#: The largest share of the items that a whole table may leave out unless it is said that it may.
MOST_REMOVED = 0.5

_NONE = np.zeros(0, dtype=np.int64)


@dataclasses.dataclass(frozen=True)
class How:
    """How a table of items is taken.

    partial: its rows are added or changed, and nothing is removed. group: the column that groups items, of a model without
    content, whose new items start from their group's mean. remove_most: more than half of the items may be removed.
    """

    partial: bool = False
    group: str | None = None
    remove_most: bool = False


@dataclasses.dataclass(frozen=True)
class Changes:
    """What an update does.

    tables: the new tables. added, returned, changed, removed: codes, int64, rising. An item that had been removed and is given
    again has returned.
    """

    tables: Tables
    added: np.ndarray
    returned: np.ndarray
    changed: np.ndarray
    removed: np.ndarray

    @property
    def none(self) -> bool:
        """Whether all stays as it is."""
        return not any(map(len, (self.added, self.returned, self.changed, self.removed)))

    def ids(self, codes: np.ndarray) -> list[Any]:
        """The raw ids of codes."""
        return self.tables.ids[codes - FIRST_ITEM].tolist()


@dataclasses.dataclass(frozen=True)
class _Placed:
    """Where the given items are among those of the catalogue, by place, which is the code less FIRST_ITEM.

    places: int64, one for each given row. before, after: how many places there are.
    """

    places: np.ndarray
    before: int
    after: int

    @classmethod
    def of(cls, tables: Tables, ids: pa.Array) -> _Placed:
        known = pc.index_in(ids, value_set=pa.array(tables.ids, ids.type))
        places = pc.fill_null(known, -1).to_numpy(zero_copy_only=False).astype(np.int64)
        new = places < 0
        after = len(tables.ids) + int(new.sum())
        places[new] = np.arange(len(tables.ids), after)
        return cls(places, len(tables.ids), after)

    @property
    def known(self) -> np.ndarray:
        """Which given rows are of items that have a code, bool."""
        return self.places < self.before

    @property
    def added(self) -> np.ndarray:
        """The places of new items."""
        return np.arange(self.before, self.after)


def changes_of(
    tables: Tables, given: TypedItems, how: How, *, content: bool, vectors: tuple[str, int] = ("", 0)
) -> Changes:
    """What the given items change.

    content: items have vectors by their attributes, whose columns and types are those of the tables' rows; else the vector of a
    new item is the mean of its group's. vectors: the column with content vectors and their width, "" for none.

    Raises CatalogueError where the items do not fit.
    """
    if content and how.group is not None:
        raise CatalogueError(
            f"the model has a vector of each item's attributes, so that new items need no group '{how.group}' to start "
            "from: leave the group away"
        )
    placed = _Placed.of(tables, given.ids)
    gone = _NONE if how.partial else _left_out(tables, placed, how)
    known = placed.places[placed.known]
    returned = known[tables.removed[known]]
    wide = _with_ids(tables, given, placed, gone)
    wide, changed = _by_content(wide, given, placed, vectors) if content else _by_group(wide, given, placed, how.group)
    changed = changed[~tables.removed[changed]]
    places = (placed.added, np.sort(returned), np.sort(changed), gone)
    return Changes(wide, *(found + FIRST_ITEM for found in places))


def _left_out(tables: Tables, placed: _Placed, how: How) -> np.ndarray:
    """The places of the items that a whole table removes."""
    left_out = ~tables.removed
    before = int(left_out.sum())
    left_out[placed.places[placed.known]] = False
    gone = np.flatnonzero(left_out)
    if len(gone) > MOST_REMOVED * before and not how.remove_most:
        raise CatalogueError(
            f"the table leaves out {len(gone):,} of the catalogue's {before:,} items, which would be removed: give the "
            "whole table, or update_catalogue(partial=True) if it holds only what is new or has changed, or "
            "update_catalogue(remove_most=True) if these items are to go"
        )
    return gone


def _with_ids(tables: Tables, given: TypedItems, placed: _Placed, gone: np.ndarray) -> Tables:
    """The tables with the new ids, which have no interactions, and marks at what is removed; vectors and rows as they were."""
    new = placed.after - placed.before
    removed = np.concatenate([tables.removed, np.zeros(new, dtype=bool)])
    removed[placed.places] = False
    removed[gone] = True
    came = np.array([*given.ids.filter(pa.array(~placed.known)).to_pylist(), None], dtype=object)[:-1]
    return dataclasses.replace(
        tables,
        ids=np.concatenate([tables.ids, came.astype(tables.ids.dtype)]),
        removed=removed,
        counts=np.concatenate([tables.counts, np.zeros(new, dtype=tables.counts.dtype)]),
    )


def _by_content(
    tables: Tables, given: TypedItems, placed: _Placed, vectors: tuple[str, int]
) -> tuple[Tables, np.ndarray]:
    """With the given rows, and the places of known items whose row is another.

    What the id of a new item would say of it is unknown: its vector by id is 0, its bias the mean of those that were learnt.
    """
    assert tables.rows is not None, "a model with content has rows"
    schema = tables.rows.schema
    named, width = vectors
    columns = [
        given.vectors(field.name, field.type, width) if field.name == named else given.column(field.name, field.type)
        for field in schema
    ]
    came = pa.table(columns, schema=schema)
    old = _with_null_rows(tables.rows, placed.after)
    changed = placed.known & differing_rows(old.take(pa.array(placed.places)), came)
    order = np.arange(placed.after)
    order[placed.places] = placed.after + np.arange(len(placed.places))
    rows = pa.concat_tables([old, came]).combine_chunks().take(pa.array(order)).combine_chunks()
    bias = tables.bias
    if bias is not None:
        usual = mean_of(bias, np.flatnonzero(_learnt(tables.counts[: placed.before])))
        bias = np.concatenate([bias, np.full(len(placed.added), usual, dtype=bias.dtype)])
    vectors_by_id = _lengthened(tables.id_vectors, len(placed.added))
    tables = dataclasses.replace(tables, rows=rows, id_vectors=vectors_by_id, bias=bias)
    return tables, placed.places[changed]


def _by_group(tables: Tables, given: TypedItems, placed: _Placed, group: str | None) -> tuple[Tables, np.ndarray]:
    """With vectors that new items start from, and the places of items that start anew, since their group is another now."""
    if group is None:
        if len(placed.added):
            raise CatalogueError(
                f"the model knows items by their ids alone, so that the {len(placed.added):,} new items have no vector: name "
                "a column that groups items, update_catalogue(group='category'), and each starts from the mean of its "
                "group; or train with an items table"
            )
        return tables, _NONE
    schema = pa.schema([(group, pa.string())])
    stored = tables.rows if tables.rows is not None and tables.rows.schema.names == schema.names else None
    old = _with_null_rows(stored or schema.empty_table(), placed.after)
    before = array_of(old.column(group))
    came = given.text(group)
    groups = before.to_numpy(zero_copy_only=False).astype(object)
    groups[placed.places] = came.to_numpy(zero_copy_only=False)
    moved = pc.fill_null(pc.not_equal(before.take(pa.array(placed.places)), came), False)
    moved = placed.known & moved.to_numpy(zero_copy_only=False)
    again = placed.places[moved]
    again = np.sort(again[tables.counts[again] == 0])
    places = np.concatenate([placed.added, again])
    tables = dataclasses.replace(tables, rows=pa.table([pa.array(groups, pa.string())], schema=schema))
    learnt = np.zeros(placed.after, dtype=bool)
    learnt[: placed.before] = _learnt(tables.counts[: placed.before])
    learnt[places] = False
    of_group = _GroupMeans(groups, places, learnt)
    bias = tables.bias
    return (
        dataclasses.replace(
            tables,
            id_vectors=of_group.started(_lengthened(tables.id_vectors, len(placed.added))),
            bias=None if bias is None else of_group.started(_lengthened(bias, len(placed.added))),
        ),
        again,
    )


class _GroupMeans:
    """What items start from: the mean over the learnt items of their group, or over all where it has none.

    groups: object [V - 3] of str or None. places: of the items that start. learnt: bool [V - 3].
    """

    def __init__(self, groups: np.ndarray, places: np.ndarray, learnt: np.ndarray) -> None:
        names = {name: number for number, name in enumerate(dict.fromkeys(groups[places].tolist())) if name is not None}
        self._places = places
        self._learnt = np.flatnonzero(learnt)
        number = np.array([names.get(name, -1) for name in groups.tolist()], dtype=np.int64)
        self._members = [self._learnt[number[self._learnt] == n] for n in names.values()]
        self._number = number[places]

    def started(self, values: np.ndarray) -> np.ndarray:
        """The same values by code, [V] or [V, D], with means in the places of the items that start."""
        everywhere = mean_of(values, self._learnt)
        means = [mean_of(values, members) if len(members) else everywhere for members in self._members]
        for place, number in zip(self._places + FIRST_ITEM, self._number, strict=True):
            values[place] = means[number] if number >= 0 else everywhere
        return values


def mean_of(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    """The mean of values by code, [V] or [V, D], over some places; 0 over none."""
    if not len(places):
        return np.zeros(values.shape[1:], dtype=values.dtype)
    return values[places + FIRST_ITEM].mean(axis=0, dtype=np.float64).astype(values.dtype)


def _learnt(counts: np.ndarray) -> np.ndarray:
    """Which items training has seen, bool [V - 3]; all where nothing says so."""
    return counts > 0 if (counts > 0).any() else np.ones(len(counts), dtype=bool)


def _lengthened(values: np.ndarray, rows: int) -> np.ndarray:
    """A copy with rows of 0 at the end."""
    return np.concatenate([values, np.zeros((rows, *values.shape[1:]), dtype=values.dtype)])


def _with_null_rows(rows: pa.Table, items: int) -> pa.Table:
    missing = pa.table([pa.nulls(items - len(rows), field.type) for field in rows.schema], schema=rows.schema)
    return pa.concat_tables([rows, missing]).combine_chunks()


def differing_rows(one: pa.Table, other: pa.Table) -> np.ndarray:
    """bool [N]: which rows of two tables of the same columns differ."""
    found = np.zeros(len(one), dtype=bool)
    for name in one.schema.names:
        found |= _differs(array_of(one.column(name)), array_of(other.column(name)))
    return found


def _differs(one: pa.Array, other: pa.Array) -> np.ndarray:
    nulls = _as_numpy(pc.is_null(one)) != _as_numpy(pc.is_null(other))
    if pa.types.is_fixed_size_list(one.type):
        one, other = (column.cast(pa.list_(column.type.value_type)) for column in (one, other))
    if not pa.types.is_list(one.type):
        return nulls | _as_numpy(pc.fill_null(pc.not_equal(one, other), False))
    lengths = [_as_numpy(pc.fill_null(pc.list_value_length(column), 0)) for column in (one, other)]
    unequal = nulls | (lengths[0] != lengths[1])
    kept = pa.array(~unequal)
    values = [pc.list_flatten(column.filter(kept)) for column in (one, other)]
    row_of = np.repeat(np.flatnonzero(~unequal), lengths[0][~unequal])
    unequal[row_of[_differs(*values)]] = True
    return unequal


def _as_numpy(values: pa.Array) -> np.ndarray:
    return values.to_numpy(zero_copy_only=False)
