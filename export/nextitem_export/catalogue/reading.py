"""Reads a table of items from a file, in the types that the catalogue has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.csv
import pyarrow.parquet

from nextitem_bundle.runtime.wire import NULL_INT64

from .._errors import CatalogueError

pc: Any = pyarrow.compute  # makes its functions when it is imported, so that pyright sees none

#: Of text files; everything else is read as Parquet. Further suffixes are those of packed files.
_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_PACKED = (".gz", ".bz2")
#: Ids that a sentence lists.
_SHOWN = 3


def read_items(path: Path) -> pa.Table:
    """The rows of a Parquet file, of a folder of such files, or of CSV and TSV, whose values are all text then.

    Raises CatalogueError where there is no such file, it cannot be read, or it holds no row.
    """
    if not path.exists():
        raise CatalogueError(f"there is no file {path}: give the table of items as Parquet or CSV")
    suffix = next((s for s in reversed(path.suffixes) if s not in _PACKED), "")
    try:
        table = _read_text(path, _SEPARATORS[suffix]) if suffix in _SEPARATORS else pyarrow.parquet.read_table(path)
    except (pa.ArrowException, OSError) as error:
        kind = "CSV" if suffix in _SEPARATORS else "Parquet"
        raise CatalogueError(
            f"{path} cannot be read as {kind} ({_first_line(error)}): give a Parquet file, or name it .csv or .tsv"
        ) from error
    if not table.num_rows:
        raise CatalogueError(f"{path} holds no items: give a table with one row for each item")
    return table


def _read_text(path: Path, separator: str) -> pa.Table:
    parse = pyarrow.csv.ParseOptions(delimiter=separator, newlines_in_values=True)
    try:
        with pyarrow.csv.open_csv(path, parse_options=parse) as opened:
            names = opened.schema.names
    except pa.ArrowInvalid as error:
        if "Empty CSV" in str(error):
            return pa.table({})
        raise
    as_text = pyarrow.csv.ConvertOptions(
        column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=[""]
    )
    return pyarrow.csv.read_csv(path, parse_options=parse, convert_options=as_text)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


class TypedItems:
    """The ids of a table of items, and its columns in the types of the catalogue.

    ids: int64 or string, without null, each once. Raises CatalogueError for a mistake, with the row and what to do; rows count
    from 1.
    """

    def __init__(self, table: pa.Table, item_column: str, *, strings: bool, max_id_bytes: int) -> None:
        self._table = table
        self._item_column = item_column
        if item_column not in table.column_names:
            raise CatalogueError(
                f"the table has no column '{item_column}' with the items' ids, it has {_listed(table.column_names)}: rename "
                "its column of ids"
            )
        self.ids = self._read_ids(strings, max_id_bytes)

    def column(self, name: str, wanted: pa.DataType) -> pa.Array:
        """A column in this type. Numbers may be of other sizes, and text is read as a number where the file has no types."""
        return self._sets(name, wanted) if _is_list(wanted) else self._values(name, wanted)

    def vectors(self, name: str, wanted: pa.DataType, width: int) -> pa.Array:
        """A column of vectors of this width, zeros where an item has none."""
        lists = self._lists(name, wanted)
        wrong = pc.fill_null(pc.not_equal(pc.list_value_length(lists), width), False)
        if pc.any(wrong).as_py():
            row = _first(wrong)
            raise CatalogueError(
                f"{self.where(row)} has a vector of {len(lists[row])} numbers in '{name}', and those of the catalogue have "
                f"{width}: make the vectors as they were made for training"
            )
        flat = array_of(pc.list_flatten(lists))
        there = lists.is_valid().to_numpy(zero_copy_only=False)
        if flat.null_count:
            row = int(np.flatnonzero(there)[_first(pc.is_null(flat)) // width])
            raise CatalogueError(
                f"{self.where(row)} has a null or NaN in its vector in '{name}': give finite numbers, or no vector at all"
            )
        values = np.zeros((len(lists), width), dtype=flat.type.to_pandas_dtype())
        values[there] = flat.to_numpy(zero_copy_only=False).reshape(-1, width)
        if pa.types.is_fixed_size_list(wanted):
            return pa.FixedSizeListArray.from_arrays(pa.array(values.ravel()), width)
        return _lists_of(np.arange(len(lists) + 1) * width, pa.array(values.ravel()), wanted)

    def text(self, name: str) -> pa.Array:
        """A column of any type as text, for what is only compared."""
        if name not in self._table.column_names:
            raise CatalogueError(
                f"the table has no column '{name}' to group items by, it has {_listed(self._table.column_names)}"
            )
        column = array_of(self._table.column(name))
        try:
            return column.cast(pa.string())
        except pa.ArrowException:
            raise CatalogueError(
                f"the column '{name}' holds {column.type}, which groups no items: name a column of text or integers"
            ) from None

    def where(self, row: int) -> str:
        """A row for a sentence."""
        return f"row {row + 1} (item {self.ids[row].as_py()!r})"

    def _read_ids(self, strings: bool, max_id_bytes: int) -> pa.Array:
        ids = array_of(self._table.column(self._item_column))
        name = self._item_column
        if ids.null_count:
            row = _first(pc.is_null(ids))
            raise CatalogueError(f"row {row + 1} has no id in '{name}': leave the row away, or give the item an id")
        if strings and not pa.types.is_string(ids.type):
            raise CatalogueError(
                f"the ids in '{name}' are {ids.type}, and those of the catalogue are text: write them as text, as they "
                "were in training"
            )
        if not strings:
            ids = self._integer_ids(ids)
        self._refuse_unsendable(ids, strings, max_id_bytes)
        if len(pc.unique(ids)) < len(ids):
            raise self._twice(ids)
        return ids

    def _integer_ids(self, ids: pa.Array) -> pa.Array:
        if pa.types.is_string(ids.type) or pa.types.is_integer(ids.type):
            wrong, found = _cast(ids, pa.int64())
            if found is not None:
                return found
            what = f"the id {ids[wrong].as_py()!r} in row {wrong + 1} of '{self._item_column}' is"
        else:
            what = f"the ids in '{self._item_column}' are {ids.type},"
        raise CatalogueError(
            f"{what} no 64-bit integer, and those of the catalogue are: write them as integers, as they were in training"
        )

    def _refuse_unsendable(self, ids: pa.Array, strings: bool, max_id_bytes: int) -> None:
        """Ids that no request could carry."""
        if strings:
            faults = {
                "is empty, which means null in a request": pc.equal(ids, ""),
                "has a NUL character, which no request may hold": pc.match_substring(ids, "\0"),
                f"is longer than the {max_id_bytes} bytes that a request may hold": pc.greater(
                    pc.binary_length(ids), max_id_bytes
                ),
            }
        else:
            faults = {"means null in a request": pc.equal(ids, NULL_INT64)}
        for fault, wrong in faults.items():
            if pc.any(wrong).as_py():
                row = _first(wrong)
                raise CatalogueError(
                    f"the id {_short(ids[row].as_py())} in row {row + 1} {fault}: give the item another id"
                )

    def _twice(self, ids: pa.Array) -> CatalogueError:
        seen: dict[Any, int] = {}
        for row, item in enumerate(ids.to_pylist()):
            if item in seen:
                return CatalogueError(
                    f"the item {item!r} stands in row {seen[item] + 1} and in row {row + 1}: give one row for each item"
                )
            seen[item] = row
        raise AssertionError("no id stands twice")

    def _found(self, name: str) -> pa.Array:
        if name not in self._table.column_names:
            raise CatalogueError(
                f"the table has no column '{name}', which the catalogue has of each item; it has "
                f"{_listed(self._table.column_names)}: add the column, with nulls where an item has none"
            )
        return array_of(self._table.column(name))

    def _values(self, name: str, wanted: pa.DataType) -> pa.Array:
        column = self._found(name)
        text = pa.types.is_string(column.type)
        if pa.types.is_string(wanted):
            if text or pa.types.is_null(column.type):
                return column.cast(wanted)
            raise CatalogueError(
                f"the column '{name}' holds {column.type}, and the catalogue has text there, as it was in training: write "
                "its values as text"
            )
        if _is_list(column.type) or (text and not self._all_text):
            row = _first(pc.is_valid(column))
            raise CatalogueError(
                f"{self.where(row)} has {_short(column[row].as_py())} in '{name}', and the catalogue has numbers "
                f"({wanted}) there: write the column as numbers"
            )
        wrong, found = _cast(column, wanted)
        if found is None:
            raise CatalogueError(
                f"{self.where(wrong)} has {_short(column[wrong].as_py())} in '{name}', which is no {wanted}: correct the row, "
                "or leave the value empty"
            )
        return found

    @property
    def _all_text(self) -> bool:
        """Whether the file has no types, as CSV."""
        return all(pa.types.is_string(kind) for kind in self._table.schema.types)

    def _sets(self, name: str, wanted: pa.DataType) -> pa.Array:
        """A column of lists of names, without nulls and empty names; an empty list where there is none."""
        lists = self._lists(name, wanted)
        offsets, values = _offsets_and_values(lists)
        kept = pc.is_valid(values)
        if pa.types.is_string(values.type):
            kept = pc.and_(kept, pc.fill_null(pc.not_equal(values, ""), False))
        before = np.concatenate([[0], np.cumsum(kept.to_numpy(zero_copy_only=False))])
        return _lists_of(before[offsets], values.filter(kept), wanted)

    def _lists(self, name: str, wanted: pa.DataType) -> pa.Array:
        column = self._found(name)
        if pa.types.is_null(column.type):
            return pa.nulls(len(column), pa.list_(wanted.value_type))
        if not _is_list(column.type):
            remedy = "CSV has no lists, so give Parquet" if self._all_text else "write a list in each row"
            raise CatalogueError(
                f"the column '{name}' holds {column.type}, and the catalogue has a list of {wanted.value_type} there: {remedy}"
            )
        offsets, values = _offsets_and_values(column)
        text = pa.types.is_string(values.type)
        if text != pa.types.is_string(wanted.value_type) and not pa.types.is_null(values.type):
            kind = "text" if pa.types.is_string(wanted.value_type) else "numbers"
            raise CatalogueError(
                f"the lists in '{name}' hold {values.type}, and those of the catalogue hold {kind}: write them as in training"
            )
        wrong, found = _cast(values, wanted.value_type)
        if found is None:
            row = int(np.searchsorted(offsets, wrong, side="right")) - 1
            raise CatalogueError(
                f"{self.where(row)} has {_short(values[wrong].as_py())} in a list of '{name}', which is no "
                f"{wanted.value_type}: correct the row"
            )
        nulls = column.is_null().to_numpy(zero_copy_only=False)
        return _lists_of(offsets, found, pa.list_(wanted.value_type), nulls)


def _lists_of(offsets: np.ndarray, values: pa.Array, wanted: pa.DataType, nulls: np.ndarray | None = None) -> pa.Array:
    """A list column of this type. offsets: int [N + 1]. nulls: bool [N], where there is no list."""
    marks = None if nulls is None else np.append(nulls, False)
    return pa.ListArray.from_arrays(pa.array(offsets.astype(np.int32), mask=marks), values).cast(wanted)


def _is_list(kind: pa.DataType) -> bool:
    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _offsets_and_values(column: pa.Array) -> tuple[np.ndarray, pa.Array]:
    """Where each row's list begins among the values, int64 [N + 1], and all values; those of null are left away."""
    lengths = pc.fill_null(pc.list_value_length(column), 0).to_numpy(zero_copy_only=False).astype(np.int64)
    return np.concatenate([[0], np.cumsum(lengths)]), array_of(pc.list_flatten(column))


def array_of(column: pa.ChunkedArray | pa.Array) -> pa.Array:
    """A column as one array, dictionaries decoded and long text as text."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):  # of more than 2 GB, or of none
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], array.type)
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()) if pa.types.is_large_string(array.type) else array


def _cast(column: pa.Array, wanted: pa.DataType) -> tuple[int, pa.Array | None]:
    """The column in this type, NaN as null, or the row of the first value that has no finite form there."""
    low, high = 0, len(column)
    try:
        found = column.cast(wanted)
    except pa.ArrowException:
        while high - low > 1:  # what is before `low` can be cast, what is before `high` cannot
            middle = (low + high) // 2
            try:
                column.slice(low, middle - low).cast(wanted)
                low = middle
            except pa.ArrowException:
                high = middle
        return low, None
    if pa.types.is_floating(wanted):
        infinite = pc.is_inf(found)
        if pc.any(infinite).as_py():
            return _first(infinite), None
        found = pc.if_else(pc.is_nan(found), pa.scalar(None, wanted), found)
    return -1, found


def _first(flags: pa.Array) -> int:
    return int(pc.index(flags, pa.scalar(True)).as_py())


def _short(value: object) -> str:
    return repr(value)[:60]


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none"
